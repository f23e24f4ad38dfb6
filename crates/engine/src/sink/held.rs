//! Which pieces of one file are verified and on disk: a bit for each.

/// A set of pieces of one file. Bits past the last piece are never set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Held {
    bits: Vec<u8>,
    pieces: u32,
    count: u32,
}

impl Held {
    /// None of so many pieces.
    pub(crate) fn none(pieces: u32) -> Held {
        Held {
            bits: vec![0; pieces.div_ceil(8) as usize],
            pieces,
            count: 0,
        }
    }

    /// All of so many pieces.
    pub(crate) fn all(pieces: u32) -> Held {
        let mut held = Held::none(pieces);
        for index in 0..pieces {
            held.insert(index);
        }
        held
    }

    /// The set that [`Held::as_bytes`] gave, if these are bytes of a set of so
    /// many pieces.
    pub(crate) fn from_bytes(pieces: u32, bytes: &[u8]) -> Option<Held> {
        let count: u32 = bytes.iter().map(|byte| byte.count_ones()).sum();
        let held = Held {
            bits: bytes.to_owned(),
            pieces,
            count,
        };
        let fits = bytes.len() == pieces.div_ceil(8) as usize;
        (fits && held.iter().count() == count as usize).then_some(held)
    }

    /// A bit for each piece, the lowest of the first byte for the first piece.
    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.bits
    }

    /// Adds a piece; pieces that the file does not have are not added.
    pub(crate) fn insert(&mut self, index: u32) {
        if index < self.pieces && !self.contains(index) {
            self.bits[index as usize / 8] |= 1 << (index % 8);
            self.count += 1;
        }
    }

    pub(crate) fn contains(&self, index: u32) -> bool {
        let byte = self.bits.get(index as usize / 8);
        byte.is_some_and(|byte| byte & (1 << (index % 8)) != 0)
    }

    /// How many pieces are in it.
    pub(crate) fn count(&self) -> u32 {
        self.count
    }

    pub(crate) fn is_full(&self) -> bool {
        self.count == self.pieces
    }

    /// The pieces, in order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = u32> {
        (0..self.pieces).filter(|index| self.contains(*index))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_set_comes_back_from_its_bytes() {
        let mut held = Held::none(11);
        for index in [0, 7, 8, 10, 11, 500, 7] {
            held.insert(index);
        }
        let back = Held::from_bytes(11, held.as_bytes()).unwrap();
        assert_eq!(back, held);
        assert_eq!(back.iter().collect::<Vec<_>>(), [0, 7, 8, 10]);
        assert!(!back.is_full());
        assert!(Held::all(11).is_full());
        assert!(Held::none(0).is_full());
    }

    #[test]
    fn bytes_of_another_length_or_with_stray_bits_are_no_set() {
        assert_eq!(Held::from_bytes(11, &[0xff]), None);
        assert_eq!(Held::from_bytes(11, &[0xff, 0x07, 0]), None);
        assert_eq!(Held::from_bytes(11, &[0xff, 0x0f]), None);
        assert!(Held::from_bytes(11, &[0xff, 0x07]).unwrap().is_full());
    }
}
