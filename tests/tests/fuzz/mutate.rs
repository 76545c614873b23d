//! Mutations of a corpus from a seed: bytes, stretches, lines, numbers, and words of the target's language.

/// The longest input that is made.
const LONGEST: usize = 16 * 1024;

/// The words of a dictionary as libFuzzer reads it: one in quotes a line, with `\xAB`, `\\` and `\"`.
pub(crate) fn dictionary(text: &str) -> Vec<Vec<u8>> {
    let quoted = text.lines().filter_map(|line| {
        let line = line.trim();
        line.strip_prefix('"')?.strip_suffix('"')
    });
    quoted.map(unescaped).filter(|word| !word.is_empty()).collect()
}

fn unescaped(word: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = word;
    while let Some(c) = rest.chars().next() {
        let hex = rest
            .strip_prefix("\\x")
            .and_then(|hex| u8::from_str_radix(hex.get(..2)?, 16).ok());
        if let Some(byte) = hex {
            bytes.push(byte);
            rest = &rest[4..];
            continue;
        }
        rest = if c == '\\' { &rest[1..] } else { rest };
        let Some(c) = rest.chars().next() else { break };
        bytes.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
        rest = &rest[c.len_utf8()..];
    }
    bytes
}

pub(crate) struct Mutator<'a> {
    dice: fastrand::Rng,
    corpus: &'a [Vec<u8>],
    words: &'a [Vec<u8>],
}

impl<'a> Mutator<'a> {
    pub(crate) fn new(seed: u64, corpus: &'a [Vec<u8>], words: &'a [Vec<u8>]) -> Self {
        Self {
            dice: fastrand::Rng::with_seed(seed),
            corpus,
            words,
        }
    }

    /// An entry of the corpus, changed in a few places.
    pub(crate) fn draw(&mut self) -> Vec<u8> {
        let mut input = self.corpus[self.dice.usize(..self.corpus.len())].clone();
        for _ in 0..self.dice.usize(1..6) {
            self.change(&mut input);
        }
        input.truncate(LONGEST);
        input
    }

    fn change(&mut self, input: &mut Vec<u8>) {
        let at = self.dice.usize(..=input.len());
        match self.dice.u8(..9) {
            0 => {
                if let Some(byte) = input.get_mut(at) {
                    *byte ^= 1 << self.dice.u8(..8);
                }
            }
            1 => input.insert(at, self.dice.u8(..)),
            2 => drop(input.drain(self.stretch(input.len(), at))),
            3 => {
                let copy = input[self.stretch(input.len(), at)].to_vec();
                let to = self.dice.usize(..=input.len());
                input.splice(to..to, copy);
            }
            4 | 5 => {
                let word = &self.words[self.dice.usize(..self.words.len())];
                input.splice(at..at, word.iter().copied());
            }
            6 => {
                let other = &self.corpus[self.dice.usize(..self.corpus.len())];
                let from = self.dice.usize(..=other.len());
                input.truncate(at);
                input.extend_from_slice(&other[from..]);
            }
            7 => self.swap_lines(input),
            _ => self.number(input),
        }
    }

    /// Some bytes from `at` on, mostly few.
    fn stretch(&mut self, len: usize, at: usize) -> std::ops::Range<usize> {
        let most = if self.dice.bool() { 8 } else { 256 };
        at..(at + self.dice.usize(1..=most)).min(len).max(at)
    }

    fn swap_lines(&mut self, input: &mut Vec<u8>) {
        let mut lines: Vec<&[u8]> = input.split_inclusive(|b| *b == b'\n').collect();
        if lines.len() > 1 {
            let (one, other) = (self.dice.usize(..lines.len()), self.dice.usize(..lines.len()));
            lines.swap(one, other);
            *input = lines.concat();
        }
    }

    /// Another number in place of one that is there: the edges are where it breaks.
    fn number(&mut self, input: &mut Vec<u8>) {
        const EDGES: [&str; 8] = [
            "0",
            "-1",
            "65536",
            "4294967296",
            "9223372036854775808",
            "1e309",
            "007",
            "0.1",
        ];
        let digits: Vec<usize> = (0..input.len()).filter(|i| input[*i].is_ascii_digit()).collect();
        if digits.is_empty() {
            return;
        }
        let from = digits[self.dice.usize(..digits.len())];
        let end = (from..input.len())
            .find(|i| !input[*i].is_ascii_digit())
            .unwrap_or(input.len());
        let edge = EDGES[self.dice.usize(..EDGES.len())];
        input.splice(from..end, edge.bytes());
    }
}
