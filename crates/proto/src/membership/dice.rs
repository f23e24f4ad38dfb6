//! Random numbers that a seed decides, so that whatever happened can happen again.
//! Good for choosing among members, never for anything secret.

use crate::keys::DeviceId;

/// Random numbers that a seed decides: splitmix64 (Steele, Lea and Flood,
/// "Fast splittable pseudorandom number generators", 2014).
#[derive(Clone, Debug)]
pub(crate) struct Dice(u64);

impl Dice {
    /// The numbers that belong to a seed.
    pub(crate) fn new(seed: u64) -> Dice {
        Dice(seed)
    }

    /// 64 random bits.
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number under `end`; 0 if there is none.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        ((u128::from(self.next()) * end as u128) >> 64) as usize
    }

    /// A device that there is not.
    pub(crate) fn device(&mut self) -> DeviceId {
        let mut id = [0; 32];
        for part in id.chunks_exact_mut(8) {
            part.copy_from_slice(&self.next().to_le_bytes());
        }
        DeviceId(id)
    }
}
