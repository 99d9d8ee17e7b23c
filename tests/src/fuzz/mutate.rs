//! A small mutator: what libFuzzer does, without its eyes. It finds what lies near the corpus, and
//! the same every time.

use fastrand::Rng;

use super::{Target, corpus};

/// Numbers at which code often decides.
const EDGES: [u8; 8] = [0, 1, 2, 0x7F, 0x80, 0xFE, 0xFF, b'/'];

/// Changes made to one input at most.
const CHANGES_MAX: usize = 5;

/// Makes inputs out of a corpus and a dictionary.
#[derive(Debug)]
pub struct Mutator {
    rng: Rng,
    corpus: Vec<Vec<u8>>,
    dictionary: Vec<Vec<u8>>,
    bytes_max: usize,
}

impl Mutator {
    /// Everything it makes follows from these.
    pub fn new(
        seed: u64,
        corpus: Vec<Vec<u8>>,
        dictionary: Vec<Vec<u8>>,
        bytes_max: usize,
    ) -> Self {
        Self { rng: Rng::with_seed(seed), corpus, dictionary, bytes_max }
    }

    /// Makes inputs for a target, out of what is committed for it.
    pub fn of(target: &Target, seed: u64) -> Self {
        let (corpus, dictionary) = (corpus::inputs(target), corpus::dictionary(target));
        Self::new(seed, corpus, dictionary, target.bytes_max)
    }

    /// The next input.
    pub fn input(&mut self) -> Vec<u8> {
        let mut input = self.one_of_corpus();
        for _ in 0..self.rng.usize(1..=CHANGES_MAX) {
            self.change(&mut input);
        }
        input.truncate(self.bytes_max);
        input
    }

    fn one_of_corpus(&mut self) -> Vec<u8> {
        self.rng.choice(&self.corpus).cloned().unwrap_or_default()
    }

    fn change(&mut self, input: &mut Vec<u8>) {
        let place = self.rng.usize(..=input.len());
        let end = self.rng.usize(place..=input.len());
        match self.rng.u32(..9) {
            0 => input.insert(place, self.rng.u8(..)),
            1 => drop(input.drain(place..end)),
            2 => {
                let copy = input[place..end].to_vec();
                let at = self.rng.usize(..=input.len());
                input.splice(at..at, copy);
            }
            3 => {
                let other = self.one_of_corpus();
                let from = self.rng.usize(..=other.len());
                input.splice(place..end, other[from..].iter().copied());
            }
            4 | 5 => {
                if let Some(word) = self.rng.choice(&self.dictionary) {
                    let end = if self.rng.bool() { place } else { end.min(place + word.len()) };
                    input.splice(place..end, word.iter().copied());
                }
            }
            way => {
                let Some(octet) = input.get_mut(place) else { return };
                match way {
                    6 => *octet ^= 1 << self.rng.u32(..8),
                    7 => *octet = octet.wrapping_add(self.rng.u8(..9).wrapping_sub(4)),
                    _ => *octet = self.rng.choice(EDGES).unwrap_or_default(),
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_makes_the_same_inputs_within_the_bound() {
        let corpus = vec![b"corpus".to_vec(), Vec::new()];
        let make = |seed| {
            let mut mutator = Mutator::new(seed, corpus.clone(), vec![b"WORD".to_vec()], 9);
            (0..2_000).map(|_| mutator.input()).collect::<Vec<_>>()
        };
        let inputs = make(1);
        assert_eq!(inputs, make(1));
        assert_ne!(inputs, make(2));
        assert!(inputs.iter().all(|input| input.len() <= 9));
        assert!(inputs.iter().any(|input| input.windows(4).any(|four| four == b"WORD")));
        assert!(inputs.iter().any(Vec::is_empty) && inputs.iter().any(|input| input.len() == 9));
    }
}
