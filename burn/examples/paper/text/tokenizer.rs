//! From texts to numbers: the words of the training texts, or BERT's WordPiece (Devlin et al., 2019; Wu et al., 2016).

use std::collections::HashMap;
use std::fs;
use std::path::Path;

/// Words longer than this are unknown, as in BERT's own code.
const LONGEST: usize = 100;

pub struct Tokenizer {
    pieces: HashMap<String, i32>,
    special: Special,
    /// Whether large and small letters are two.
    cased: bool,
    /// Whether a word may be put together of pieces.
    splits: bool,
}

/// The numbers of the tokens that are no text.
#[derive(Debug, Clone, Copy)]
struct Special {
    pad: i32,
    unknown: i32,
    class: i32,
    end: i32,
}

const NAMES: [&str; 4] = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"];

impl Tokenizer {
    /// A number for each word that is in the texts more than once.
    pub fn of_words(texts: &[String]) -> Self {
        let mut counts: HashMap<String, usize> = HashMap::new();
        for word in texts.iter().flat_map(|text| words(text, false)) {
            *counts.entry(word).or_default() += 1;
        }
        let mut frequent: Vec<String> =
            counts.into_iter().filter(|(_, count)| *count > 1).map(|(word, _)| word).collect();
        frequent.sort();
        let names = NAMES.into_iter().map(str::to_owned).chain(frequent);
        let pieces = names.zip(0..).collect();
        Self { pieces, special: Special { pad: 0, unknown: 1, class: 2, end: 3 }, cased: false, splits: false }
    }

    /// The pieces of a `vocab.txt`: one a line, numbered from 0.
    ///
    /// # Errors
    /// If it cannot be read, or is none of BERT's. The message names file and remedy.
    pub fn read(file: &Path, cased: bool) -> Result<Self, String> {
        let name = file.display();
        let text = fs::read_to_string(file)
            .map_err(|error| format!("--vocab {name}: {error}; give the vocab.txt that belongs to the weights"))?;
        let pieces: HashMap<String, i32> = text.lines().map(|line| line.trim_end().to_owned()).zip(0..).collect();
        let number = |special: &str| {
            pieces.get(special).copied().ok_or_else(|| {
                format!("--vocab {name}: there is no line `{special}`; give the vocab.txt that belongs to the weights")
            })
        };
        let [pad, unknown, class, end] = NAMES.map(number);
        let special = Special { pad: pad?, unknown: unknown?, class: class?, end: end? };
        Ok(Self { pieces, special, cased, splits: true })
    }

    /// Numbers from 0 up to this one.
    pub fn len(&self) -> usize {
        self.pieces.values().max().map_or(0, |last| *last as usize + 1)
    }

    pub fn pad(&self) -> i32 {
        self.special.pad
    }

    /// `[CLS]`, the text as far as there is room, `[SEP]`.
    pub fn encode(&self, text: &str, longest: usize) -> Vec<i32> {
        let mut numbers = vec![self.special.class];
        for word in words(text, self.cased) {
            if numbers.len() + 1 >= longest {
                break;
            }
            self.push(&word, &mut numbers);
        }
        numbers.truncate(longest - 1);
        numbers.push(self.special.end);
        numbers
    }

    /// The longest pieces that there are, from the left; all but the first begin with `##`.
    fn push(&self, word: &str, numbers: &mut Vec<i32>) {
        let before = numbers.len();
        let mut rest = word;
        while !rest.is_empty() {
            let prefix = if rest.len() == word.len() { "" } else { "##" };
            let ends = rest.char_indices().map(|(start, char)| start + char.len_utf8()).rev();
            let ends = ends.filter(|end| self.splits || *end == word.len());
            let longest = ends.into_iter().find_map(|end| {
                let piece = self.pieces.get(&format!("{prefix}{}", &rest[..end]))?;
                Some((end, *piece))
            });
            match longest {
                Some((end, piece)) if word.chars().count() <= LONGEST => {
                    numbers.push(piece);
                    rest = &rest[end..];
                }
                _ => {
                    numbers.truncate(before);
                    numbers.push(self.special.unknown);
                    return;
                }
            }
        }
    }
}

/// Words and signs. BERT also takes accents off letters when it makes them small, which is left out here.
fn words(text: &str, cased: bool) -> Vec<String> {
    let text = if cased { text.to_owned() } else { text.to_lowercase() };
    let mut words = vec![String::new()];
    for char in text.chars() {
        let is_sign = !char.is_alphanumeric() && !char.is_whitespace() && !char.is_control();
        if is_sign {
            words.extend([char.to_string(), String::new()]);
        } else if char.is_whitespace() {
            words.push(String::new());
        } else if let Some(word) = words.last_mut().filter(|_| !char.is_control()) {
            word.push(char);
        }
    }
    words.retain(|word| !word.is_empty());
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_and_signs_come_apart() {
        assert_eq!(words("It's  a\tfilm.", false), ["it", "'", "s", "a", "film", "."]);
        assert_eq!(words("Ünder $5-", true), ["Ünder", "$", "5", "-"]);
    }

    #[test]
    fn a_word_is_put_together_of_the_longest_pieces() {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), "[PAD]\n[UNK]\n[CLS]\n[SEP]\nun\n##aff\n##able\n##a\nable\n,\n").unwrap();
        let tokenizer = Tokenizer::read(file.path(), false).unwrap();
        assert_eq!((tokenizer.len(), tokenizer.pad()), (10, 0));
        // The example of BERT's own code.
        assert_eq!(tokenizer.encode("UNaffable, able", 16), [2, 4, 5, 6, 9, 8, 3]);
        // What has no piece is unknown as a whole.
        assert_eq!(tokenizer.encode("unafx un", 16), [2, 1, 4, 3]);
        assert_eq!(tokenizer.encode(&"un".repeat(60), 16), [2, 1, 3]);
        assert_eq!(tokenizer.encode("unaffable unaffable", 5), [2, 4, 5, 6, 3]);
        assert_eq!(tokenizer.encode("", 16), [2, 3]);

        fs::write(file.path(), "[PAD]\n[UNK]\n").unwrap();
        let error = Tokenizer::read(file.path(), false).err().unwrap();
        assert!(error.contains("there is no line `[CLS]`; give the vocab.txt"), "{error}");
    }

    #[test]
    fn frequent_words_have_numbers() {
        let texts = ["b a", "a c, b,"].map(str::to_owned);
        let tokenizer = Tokenizer::of_words(&texts);
        assert_eq!(tokenizer.len(), 7);
        // `,` is 4, `a` 5, `b` 6; `c` is there once.
        assert_eq!(tokenizer.encode("A b, ab c", 16), [2, 5, 6, 4, 1, 1, 3]);
    }
}
