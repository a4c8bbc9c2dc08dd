//! The paths in a file's text, which is scanned and not compiled.

use std::collections::BTreeMap;

/// A module's names from the crate's root on, or any other path.
pub type Names<'a> = Vec<&'a str>;

/// The text as words and signs, without comments, strings and characters.
pub fn tokens(source: &str) -> Vec<&str> {
    let is_part = |c: char| c.is_alphanumeric() || c == '_';
    let past = |text: &str, end: &str| text.find(end).map_or(text.len(), |at| at + end.len());
    let (mut rest, mut tokens) = (source, Vec::new());
    while let Some(first) = rest.chars().next() {
        let len = if rest.starts_with("//") {
            past(rest, "\n")
        } else if rest.starts_with("/*") {
            past(rest, "*/")
        } else if first == '"' {
            let mut escaped = true;
            let end = rest.find(|c| {
                let ends = c == '"' && !escaped;
                escaped = c == '\\' && !escaped;
                ends
            });
            end.map_or(rest.len(), |at| at + 1)
        } else if rest.starts_with("'\\") {
            3 + past(&rest[3..], "'")
        } else if first == '\'' {
            // A character, or a lifetime, whose name is as good as any other word.
            let mut next = rest.chars().skip(1);
            let len = next.next().map_or(0, char::len_utf8);
            if next.next() == Some('\'') { 2 + len } else { 1 }
        } else if is_part(first) {
            let word = &rest[..rest.find(|c| !is_part(c)).unwrap_or(rest.len())];
            let behind = &rest[word.len()..];
            let quote = behind.trim_start_matches('#');
            if ["r", "br", "cr"].contains(&word) && quote.starts_with('"') {
                let hashes = &behind[..behind.len() - quote.len()];
                let opening = word.len() + hashes.len() + 1;
                opening + past(&rest[opening..], &format!("\"{hashes}"))
            } else {
                tokens.push(word);
                word.len()
            }
        } else {
            let len = if rest.starts_with("::") { 2 } else { first.len_utf8() };
            if !first.is_whitespace() {
                tokens.push(&rest[..len]);
            }
            len
        };
        rest = &rest[len..];
    }
    tokens
}

fn is_word(token: &str) -> bool {
    token.starts_with(|c: char| c.is_alphabetic() || c == '_')
}

/// How many tokens come before this one.
fn position(tokens: &[&str], wanted: &str) -> usize {
    tokens.iter().position(|token| *token == wanted).unwrap_or(tokens.len())
}

/// Tokens up to the end of an item: its semicolon, or the brace that closes its body.
fn item_len(tokens: &[&str]) -> usize {
    let mut depth = 0;
    let end = tokens.iter().position(|token| {
        depth += i32::from(["(", "[", "{"].contains(token));
        depth -= i32::from([")", "]", "}"].contains(token));
        depth == 0 && [";", "}"].contains(token)
    });
    end.map_or(tokens.len(), |at| at + 1)
}

/// What one file says.
pub struct Scan<'a> {
    pub files: &'a BTreeMap<Names<'a>, &'a str>,
    /// What the file has imported, by its name there.
    pub imported: BTreeMap<&'a str, Names<'a>>,
    /// From the crate's root on.
    pub paths: Vec<Names<'a>>,
    /// Modules for tests only.
    pub tests: Vec<Names<'a>>,
}

impl<'a> Scan<'a> {
    pub fn scan(&mut self, tokens: &[&'a str], module: &[&'a str]) {
        let mut at = 0;
        while at < tokens.len() {
            at += match &tokens[at..] {
                ["#", "[", "cfg", rest @ ..] => {
                    let (condition, item) = rest.split_at(1 + position(rest, "]"));
                    let is_test =
                        condition.contains(&"test") && !["any", "not"].iter().any(|it| condition.contains(it));
                    if let [.., "mod", name] = &item[..position(item, ";")] {
                        self.tests.extend(is_test.then(|| [module, &[*name]].concat()));
                    }
                    3 + condition.len() + if is_test { item_len(item) } else { 0 }
                }
                // What a returned `impl Trait` captures.
                ["use", "<", ..] => 2,
                ["use", "::", ..] => 2,
                ["use", rest @ ..] => {
                    let len = position(rest, ";");
                    self.import(&rest[..len], &[], module);
                    1 + len
                }
                ["mod", name, "{", ..] => {
                    let len = item_len(&tokens[at..]);
                    self.scan(&tokens[at + 3..at + len - 1], &[module, &[*name]].concat());
                    len
                }
                // Who may see an item.
                ["pub", "(", "in", rest @ ..] => 3 + position(rest, ")"),
                [first, "::", ..] if is_word(first) => {
                    let pairs = tokens[at + 1..].chunks_exact(2);
                    let more = pairs.take_while(|pair| pair[0] == "::" && is_word(pair[1])).count();
                    let path: Names = tokens[at..][..=2 * more].iter().step_by(2).copied().collect();
                    self.paths.extend(self.resolve(&path, module));
                    1 + 2 * more
                }
                // What follows belongs to the path before, or to another crate.
                ["::", _, ..] => 2,
                _ => 1,
            }
        }
    }

    /// The branches of a `use` that begins with `stem`.
    fn import(&mut self, branches: &[&'a str], stem: &[&'a str], module: &[&'a str]) {
        let mut depth = 0;
        let branches = branches.split(|token| {
            depth += i32::from(*token == "{") - i32::from(*token == "}");
            *token == "," && depth == 0
        });
        for branch in branches.filter(|branch| !branch.is_empty()) {
            let end = branch.iter().position(|token| ["{", "as"].contains(token)).unwrap_or(branch.len());
            let words = branch[..end].iter().copied().filter(|token| is_word(token));
            let mut path: Names = stem.iter().copied().chain(words).collect();
            if branch.get(end) == Some(&"{") {
                self.import(&branch[end + 1..branch.len() - 1], &path, module);
                continue;
            }
            if path.len() > 1 && path.ends_with(&["self"]) {
                path.pop();
            }
            let name = branch.get(end + 1).or(path.last()).copied();
            let resolved = self.resolve(&path, module);
            self.imported.extend(name.zip(resolved.clone()));
            self.paths.extend(resolved);
        }
    }

    /// A path from the crate's root on, or None if it leads to another crate or is no module's.
    fn resolve(&self, path: &[&'a str], module: &[&'a str]) -> Option<Names<'a>> {
        match path {
            ["crate", rest @ ..] => Some(rest.to_vec()),
            ["self", rest @ ..] => Some([module, rest].concat()),
            ["super", ..] => {
                let up = path.iter().take_while(|name| **name == "super").count();
                Some([&module[..module.len().checked_sub(up)?], &path[up..]].concat())
            }
            [first, rest @ ..] => match self.imported.get(first) {
                Some(imported) => Some([imported, rest].concat()),
                None => {
                    let is_own = self.files.contains_key(&[module, &[*first]].concat());
                    is_own.then(|| [module, path].concat())
                }
            },
            [] => None,
        }
    }
}
