//! Where ONNX Runtime's shared library is looked for.
//!
//! The environment is read in `config/`; this file turns what it found there into paths, in the
//! order that README and `scripts/setup-onnxruntime` promise.

use std::fmt;
use std::path::{Path, PathBuf};

/// Version that `scripts/setup-onnxruntime` fetches; part of the folder's name in the cache.
pub const ONNXRUNTIME_VERSION: &str = "1.32.0";

const LIBRARY: &str = if cfg!(target_os = "macos") {
    "libonnxruntime.dylib"
} else {
    "libonnxruntime.so"
};

/// The values that decide where the library is looked for; empty ones count as unset.
#[derive(Clone, Debug, Default)]
pub struct Places {
    /// `ORT_DYLIB_PATH`: the library itself.
    pub ort_dylib_path: Option<PathBuf>,
    /// Path of the running binary.
    pub executable: Option<PathBuf>,
    /// `FORETELL_CACHE`: the cache folder.
    pub foretell_cache: Option<PathBuf>,
    /// `XDG_CACHE_HOME`.
    pub xdg_cache_home: Option<PathBuf>,
    /// `HOME`.
    pub home: Option<PathBuf>,
}

impl Places {
    /// Paths to try, in order: `ORT_DYLIB_PATH`, beside the binary, the cache folder.
    pub fn candidates(&self) -> Vec<PathBuf> {
        let beside = set(self.executable.as_ref())
            .and_then(Path::parent)
            .map(|folder| folder.join(LIBRARY));
        let cached = self.cache_folder().map(|folder| {
            folder
                .join(format!("onnxruntime-{ONNXRUNTIME_VERSION}"))
                .join(LIBRARY)
        });
        [
            set(self.ort_dylib_path.as_ref()).map(Path::to_owned),
            beside,
            cached,
        ]
        .into_iter()
        .flatten()
        .collect()
    }

    /// `FORETELL_CACHE`, else `$XDG_CACHE_HOME/foretell`, else `~/.cache/foretell`.
    pub fn cache_folder(&self) -> Option<PathBuf> {
        set(self.foretell_cache.as_ref())
            .map(Path::to_owned)
            .or_else(|| set(self.xdg_cache_home.as_ref()).map(|folder| folder.join("foretell")))
            .or_else(|| {
                set(self.home.as_ref()).map(|folder| folder.join(".cache").join("foretell"))
            })
    }
}

fn set(path: Option<&PathBuf>) -> Option<&Path> {
    path.map(PathBuf::as_path)
        .filter(|path| !path.as_os_str().is_empty())
}

/// A path where the library is not, and why.
#[derive(Clone, Debug)]
pub struct Tried {
    pub path: PathBuf,
    pub reason: String,
}

/// All of them, as one sentence part.
#[derive(Clone, Debug)]
pub struct TriedList(pub Vec<Tried>);

impl fmt::Display for TriedList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("no path");
        }
        for (index, Tried { path, reason }) in self.0.iter().enumerate() {
            let separator = if index == 0 { "" } else { "; " };
            write!(f, "{separator}{} ({reason})", path.display())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> PathBuf {
        PathBuf::from(text)
    }

    #[test]
    fn the_variable_comes_first_then_the_binarys_folder_then_the_cache() {
        let places = Places {
            ort_dylib_path: Some(path("/a/lib.so")),
            executable: Some(path("/b/foretell")),
            foretell_cache: None,
            xdg_cache_home: Some(path("")),
            home: Some(path("/h")),
        };
        let wanted = [
            "/a/lib.so".to_owned(),
            format!("/b/{LIBRARY}"),
            format!("/h/.cache/foretell/onnxruntime-1.32.0/{LIBRARY}"),
        ];
        assert_eq!(places.candidates(), wanted.map(PathBuf::from));
    }

    #[test]
    fn the_cache_folder_is_chosen_like_the_scripts() {
        let mut places = Places {
            foretell_cache: Some(path("/f")),
            xdg_cache_home: Some(path("/x")),
            home: Some(path("/h")),
            ..Places::default()
        };
        assert_eq!(places.cache_folder(), Some(path("/f")));
        places.foretell_cache = None;
        assert_eq!(places.cache_folder(), Some(path("/x/foretell")));
        places.xdg_cache_home = None;
        assert_eq!(places.cache_folder(), Some(path("/h/.cache/foretell")));
        places.home = None;
        assert_eq!(places.cache_folder(), None);
        assert!(places.candidates().is_empty());
    }
}
