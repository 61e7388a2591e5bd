//! Reads Rust source as far as the rules need it: code without comments and strings, the part before
//! the tests, and the paths that it names.

/// One file of the repository.
#[derive(Debug)]
pub(crate) struct Source {
    /// Path below the root of the package, with `/`.
    pub(crate) path: String,
    pub(crate) text: String,
}

/// First line of a file's own tests, where the next one opens their module. In front of a `mod tests;`
/// it ends nothing: the product goes on behind it.
const TESTS: &str = "#[cfg(test)]";

impl Source {
    pub(crate) fn new(path: &str, text: &str) -> Self {
        Self {
            path: path.to_owned(),
            text: text.to_owned(),
        }
    }

    /// Path below `src/`.
    pub(crate) fn place(&self) -> &str {
        self.path.strip_prefix("src/").unwrap_or(&self.path)
    }

    /// True for files that hold nothing but tests.
    pub(crate) fn is_tests(&self) -> bool {
        let in_folder = self.path.contains("/tests/");
        in_folder || self.path.ends_with("/tests.rs") || !self.path.starts_with("src/")
    }

    /// How many lines stand before the file's own tests.
    pub(crate) fn lines_before_tests(&self) -> usize {
        self.before_tests().len()
    }

    fn before_tests(&self) -> Vec<&str> {
        let mut lines: Vec<_> = self.text.lines().collect();
        let opens =
            |pair: &[&str]| pair[0] == TESTS && pair[1].contains("mod ") && pair[1].contains('{');
        if let Some(at) = lines.windows(2).position(opens) {
            lines.truncate(at);
        }
        lines
    }

    /// What is compiled into the product: no tests, no comments, no text of strings.
    pub(crate) fn code(&self) -> String {
        if self.is_tests() {
            return String::new();
        }
        let lines = self.before_tests().into_iter();
        let product: Vec<_> = lines.map(without_comments_and_strings).collect();
        product.join("\n")
    }

    /// The first folder or file below `src/`, which is the module's name.
    pub(crate) fn room(&self) -> &str {
        let first = self.place().split('/').next().unwrap_or_default();
        first.strip_suffix(".rs").unwrap_or(first)
    }

    /// Other rooms that the code names, by `crate::` or by enough `super::`.
    pub(crate) fn imports(&self) -> Vec<String> {
        let code = self.code();
        let depth =
            self.place().matches('/').count() + usize::from(!self.place().ends_with("mod.rs"));
        let to_root = "super::".repeat(depth);
        let mut rooms: Vec<String> = after(&code, "crate::")
            .chain(after(&code, &to_root))
            .flat_map(first_segments)
            .filter(|room| room != self.room())
            .collect();
        rooms.sort_unstable();
        rooms.dedup();
        rooms
    }

    /// True when the code names the outside library, not a module of ours that is called the same.
    pub(crate) fn names_library(&self, library: &str) -> bool {
        let code = self.code();
        let flat: String = code.split_whitespace().collect::<Vec<_>>().join(" ");
        let bound_here = [
            format!("::{library};"),
            format!("::{library}::{{self"),
            format!("mod {library};"),
        ];
        let global = format!(" ::{library}::");
        if flat.contains(&global) || flat.contains(&format!("(::{library}::")) {
            return true;
        }
        !bound_here.iter().any(|binding| flat.contains(binding))
            && after(&code, &format!("{library}::")).next().is_some()
    }

    /// True when `word` stands in the code as a whole word.
    pub(crate) fn has_word(&self, word: &str) -> bool {
        let code = self.code();
        code.match_indices(word).any(|(at, _)| {
            let before = code[..at].chars().next_back();
            let behind = code[at + word.len()..].chars().next();
            !before.is_some_and(is_word) && !behind.is_some_and(is_word)
        })
    }
}

/// What follows each `head` that begins a path.
fn after<'c>(code: &'c str, head: &str) -> impl Iterator<Item = &'c str> {
    let starts: Vec<_> = code
        .match_indices(head)
        .filter(|(at, _)| {
            let before = code[..*at].chars().next_back();
            !before.is_some_and(|c| is_word(c) || c == ':' || c == '$')
        })
        .map(|(at, found)| &code[at + found.len()..])
        .collect();
    starts.into_iter()
}

/// The identifier that a path goes on with, or all of them where it goes on with a group.
fn first_segments(path: &str) -> Vec<String> {
    let identifier = |text: &str| -> String { text.chars().take_while(|c| is_word(*c)).collect() };
    let Some(group) = path.strip_prefix('{') else {
        return vec![identifier(path)];
    };
    let mut nesting = 0_usize;
    let mut segments = vec![String::new()];
    for c in group.chars() {
        match c {
            '{' => nesting += 1,
            '}' if nesting == 0 => break,
            '}' => nesting -= 1,
            ',' if nesting == 0 => segments.push(String::new()),
            _ => {}
        }
        if let Some(last) = segments.last_mut() {
            last.push(c);
        }
    }
    segments
        .iter()
        .map(|segment| identifier(segment.trim_start_matches([',', ' ', '\n'])))
        .filter(|segment| !segment.is_empty())
        .collect()
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// Good enough for formatted code: a string ends in the line where it begins, or its lines hold
/// nothing that looks like code.
fn without_comments_and_strings(line: &str) -> String {
    let mut code = String::new();
    let mut in_string = false;
    let mut characters = line.chars().peekable();
    while let Some(c) = characters.next() {
        match c {
            '\\' if in_string => {
                characters.next();
            }
            '"' => in_string = !in_string,
            '/' if !in_string && characters.peek() == Some(&'/') => break,
            _ if !in_string => code.push(c),
            _ => {}
        }
    }
    code
}

mod tests {
    use super::Source;

    fn of(path: &str, text: &str) -> Source {
        Source::new(path, text)
    }

    #[test]
    fn imports_are_found_in_every_form() {
        let text = "use crate::window::Table;\nuse crate::{infer::Batch, decode::{self, Decoder}};\n\
                    fn f() { crate::produce::encode(); super::super::consume::poll(); }\n\
                    // crate::comment\nconst A: &str = \"crate::text\";\n\
                    #[cfg(test)]\nmod tests { use crate::http::Server; }";
        let imports = of("src/decode/plan.rs", text).imports();
        assert_eq!(imports, ["consume", "infer", "produce", "window"]);
        let upward = of("src/decode/mod.rs", "use super::window::Table;").imports();
        assert_eq!(upward, ["window"]);
        let sideways = of("src/decode/plan.rs", "use super::schema::Schema;").imports();
        assert!(sideways.is_empty());
        assert!(
            of("src/decode/tests.rs", "use crate::window;")
                .imports()
                .is_empty()
        );
    }

    #[test]
    fn a_library_is_told_from_a_module_of_the_same_name() {
        let names = |text: &str| of("src/infer/a.rs", text).names_library("metrics");
        assert!(names("use metrics::counter;"));
        assert!(names("fn f() { metrics::gauge!(\"a\"); }"));
        assert!(names(
            "use crate::telemetry::metrics;\nfn f() { ::metrics::gauge!(); }"
        ));
        assert!(!names(
            "use crate::telemetry::metrics;\nfn f() { metrics::polled(); }"
        ));
        assert!(!names(
            "use crate::telemetry::metrics::{self, A};\nfn f() { metrics::polled(); }"
        ));
        assert!(!names(
            "use crate::telemetry::metrics::polled; // metrics::counter"
        ));
        assert!(!names("fn f() { my_metrics::g() }"));
    }

    #[test]
    fn words_are_whole_and_in_code() {
        let source = of(
            "src/a.rs",
            "fn f() { unsafe_code(); } // unsafe\nlet a = \"unsafe\";",
        );
        assert!(!source.has_word("unsafe"));
        assert!(of("src/a.rs", "unsafe { f() }").has_word("unsafe"));
    }

    #[test]
    fn lines_are_counted_up_to_the_tests() {
        let source = of("src/a.rs", "a\nb\n#[cfg(test)]\nmod tests {\n}\n");
        assert_eq!(source.lines_before_tests(), 2);
        let elsewhere = of("src/a.rs", "a\n#[cfg(test)]\nmod tests;\nb");
        assert_eq!(elsewhere.lines_before_tests(), 4);
        assert_eq!(of("src/a.rs", "a\nb").lines_before_tests(), 2);
    }
}
