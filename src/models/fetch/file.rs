//! `file://`: regular files below a folder that the configuration names.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Component, Path, PathBuf};

use rustix::fs::{Mode, OFlags, ResolveFlags, open, openat2};
use rustix::io::Errno;
use tokio::task::spawn_blocking;

use super::error::Problem;

pub(super) async fn fetch(
    roots: &[PathBuf],
    path: PathBuf,
    bytes_max: usize,
) -> Result<Vec<u8>, Problem> {
    let roots = roots.to_vec();
    // A file system that hangs holds this thread, and nobody waits for it past the deadline.
    let reading = spawn_blocking(move || read(&roots, &path, bytes_max)).await;
    reading.unwrap_or_else(|error| Err(Problem::File(io::Error::other(error))))
}

fn read(roots: &[PathBuf], path: &Path, bytes_max: usize) -> Result<Vec<u8>, Problem> {
    let below = roots.iter().find_map(|root| {
        // A path that is written as the folder really lies is as good.
        let real = root.canonicalize().ok();
        let inside = path.strip_prefix(root).ok();
        let inside = inside.or_else(|| path.strip_prefix(real.as_deref()?).ok())?;
        Some((root, inside.to_owned()))
    });
    let Some((root, inside)) = below else {
        return Err(Problem::NotListed {
            what: format!("a folder with {}", path.display()),
            key: "promotion.file_roots",
        });
    };
    let file = File::from(open_beneath(root, &inside)?);
    let about = file.metadata().map_err(Problem::File)?;
    if !about.is_file() {
        return Err(Problem::NoFile);
    }
    let limit = u64::try_from(bytes_max).unwrap_or(u64::MAX);
    if about.len() > limit {
        return Err(Problem::TooLarge { bytes_max });
    }
    let mut bytes = Vec::new();
    // One byte more than allowed: the file may grow.
    let reading = file.take(limit.saturating_add(1)).read_to_end(&mut bytes);
    reading.map_err(Problem::File)?;
    if bytes.len() > bytes_max {
        return Err(Problem::TooLarge { bytes_max });
    }
    Ok(bytes)
}

/// Opens what lies below a folder. The kernel itself sees to it that no link and no ".." leads out, whoever changes
/// them meanwhile. A pipe is opened without waiting for who writes into it.
fn open_beneath(root: &Path, inside: &Path) -> Result<std::os::fd::OwnedFd, Problem> {
    let leads_out = || Problem::LeadsOut {
        root: root.display().to_string(),
    };
    let mut parts = inside.components();
    if !parts.all(|part| matches!(part, Component::Normal(_))) {
        return Err(leads_out());
    }
    let failed = |errno| match errno {
        Errno::XDEV | Errno::LOOP => leads_out(),
        Errno::NOENT | Errno::NOTDIR => Problem::NotFound {
            what: "the file".to_owned(),
        },
        Errno::NXIO => Problem::NoFile,
        _ => Problem::File(errno.into()),
    };
    let folder = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let folder = open(root, folder, Mode::empty()).map_err(failed)?;
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    let beneath = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
    openat2(folder, inside, flags, Mode::empty(), beneath).map_err(failed)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;
    use std::slice::from_ref;

    use rustix::fs::{CWD, FileType, mknodat};
    use tempfile::TempDir;

    use super::*;

    const BYTES_MAX: usize = 10;

    /// A root with files and links, beside what must stay secret.
    fn folder() -> (TempDir, PathBuf) {
        let outer = tempfile::tempdir().unwrap();
        let root = outer.path().join("root");
        fs::create_dir_all(root.join("inner")).unwrap();
        fs::write(outer.path().join("secret"), "secret").unwrap();
        fs::write(root.join("inner/good"), "good").unwrap();
        fs::write(root.join("large"), "0123456789+").unwrap();
        let pipe = root.join("pipe");
        mknodat(CWD, &pipe, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
        symlink("inner/good", root.join("link")).unwrap();
        symlink("../secret", root.join("out")).unwrap();
        symlink(outer.path().join("secret"), root.join("absolute")).unwrap();
        symlink("..", root.join("inner/up")).unwrap();
        symlink("../..", root.join("inner/far")).unwrap();
        symlink("loop", root.join("loop")).unwrap();
        symlink("/proc/self/fd/0", root.join("magic")).unwrap();
        (outer, root)
    }

    #[test]
    fn files_below_a_root_are_read() {
        let (_outer, root) = folder();
        for path in ["inner/good", "link", "inner/up/link", "inner/up/inner/good"] {
            let found = read(from_ref(&root), &root.join(path), BYTES_MAX);
            assert_eq!(found.unwrap(), b"good", "{path}");
        }
    }

    #[test]
    fn nothing_leads_out_and_nothing_else_is_read() {
        let (outer, root) = folder();
        for (path, said) in [
            ("../secret", "leads out"),
            ("inner/../../secret", "leads out"),
            ("inner/../inner/good", "leads out"),
            ("out", "leads out"),
            ("absolute", "leads out"),
            ("inner/far/secret", "leads out"),
            ("loop", "leads out"),
            ("magic", "leads out"),
            ("none", "not there"),
            ("large/x", "not there"),
            ("inner", "not a file"),
            ("pipe", "not a file"),
            ("large", "more than 10 bytes"),
        ] {
            let refused = read(from_ref(&root), &root.join(path), BYTES_MAX).unwrap_err();
            let text = refused.to_string();
            assert!(text.contains(said), "{path}: {text}");
            assert!(!refused.is_passing(), "{path}: {text}");
        }
        for path in [outer.path().join("secret"), PathBuf::from("/dev/zero")] {
            let refused = read(from_ref(&root), &path, BYTES_MAX).unwrap_err();
            assert!(refused.to_string().contains("promotion.file_roots"));
        }
        // A folder whose name only begins so.
        let roots = [outer.path().join("roo")];
        assert!(read(&roots, &root.join("inner/good"), BYTES_MAX).is_err());
    }

    #[test]
    fn a_root_may_be_a_link_itself() {
        let (outer, root) = folder();
        let link = outer.path().join("models");
        symlink(&root, &link).unwrap();
        for path in [&link, &root] {
            let found = read(from_ref(&link), &path.join("inner/good"), BYTES_MAX);
            assert_eq!(found.unwrap(), b"good");
        }
    }
}
