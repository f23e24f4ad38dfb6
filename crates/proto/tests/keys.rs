//! Keys: signatures hold for exactly what was signed, and secrets stay secret.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use passalong_proto::invite::InviteSecret;
use passalong_proto::keys::{DeviceId, DeviceKey, Role, ShareKey, link_binding};
use proptest::prelude::*;

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn a_device_key_is_the_one_that_rfc_8032_gives_for_its_seed() {
    // RFC 8032, 7.1, test 1.
    let seed = [
        0x9d, 0x61, 0xb1, 0x9d, 0xef, 0xfd, 0x5a, 0x60, 0xba, 0x84, 0x4a, 0xf4, 0x92, 0xec, 0x2c,
        0xc4, 0x44, 0x49, 0xc5, 0x69, 0x7b, 0x32, 0x69, 0x19, 0x70, 0x3b, 0xac, 0x03, 0x1c, 0xae,
        0x7f, 0x60,
    ];
    let key = DeviceKey::from_seed(seed);
    assert_eq!(
        hex(&key.public().0),
        "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"
    );
    assert_eq!(key.public().to_string(), "d75a980182b10ab7");
    assert!(hex(&key.sign(b"")).starts_with("e5564300c360ac72"));
}

#[test]
fn a_key_of_small_order_verifies_nothing() {
    // The neutral element: lax verification takes this signature for any message.
    let mut neutral = [0; 32];
    neutral[0] = 1;
    let mut signature = [0; 64];
    signature[0] = 1;
    assert!(!DeviceId(neutral).verify(b"anything", &signature));
}

proptest! {
    #[test]
    fn a_signature_holds_for_its_message_and_signer_alone(
        seeds in prop::array::uniform2(any::<[u8; 32]>()),
        message in prop::collection::vec(any::<u8>(), 0..100),
        flipped_bit in 0_usize..512,
    ) {
        prop_assume!(seeds[0] != seeds[1]);
        let key = DeviceKey::from_seed(seeds[0]);
        let mut signature = key.sign(&message);
        prop_assert!(key.public().verify(&message, &signature));
        prop_assert!(!DeviceKey::from_seed(seeds[1]).public().verify(&message, &signature));
        let longer = [message.as_slice(), b"!"].concat();
        prop_assert!(!key.public().verify(&longer, &signature));
        signature[flipped_bit / 8] ^= 1 << (flipped_bit % 8);
        prop_assert!(!key.public().verify(&message, &signature));
    }

    #[test]
    fn verifying_under_arbitrary_bytes_never_panics(
        key in any::<[u8; 32]>(),
        signature in any::<[[u8; 32]; 2]>(),
    ) {
        let mut whole = [0; 64];
        whole[..32].copy_from_slice(&signature[0]);
        whole[32..].copy_from_slice(&signature[1]);
        prop_assert!(!DeviceId(key).verify(b"message", &whole));
    }

    #[test]
    fn keys_come_back_from_their_seeds(seed in any::<[u8; 32]>()) {
        let device = DeviceKey::from_seed(seed);
        prop_assert_eq!(device.seed(), seed);
        prop_assert_eq!(DeviceKey::from_seed(device.seed()).public(), device.public());
        let share = ShareKey::from_seed(seed);
        prop_assert_eq!(share.seed(), seed);
        prop_assert!(share.secret().commits_to(&share.public()));
        prop_assert!(DeviceId(share.public()).verify(b"x", &share.sign(b"x")));
    }

    #[test]
    fn debug_output_never_holds_a_secret(seed in any::<[u8; 32]>()) {
        let share = ShareKey::from_seed(seed);
        let device = format!("{:?}", DeviceKey::from_seed(seed));
        prop_assert!(!device.contains(&hex(&seed[..4])));
        let shown = format!("{:?} {:?}", share, share.secret());
        prop_assert!(!shown.contains(&hex(&seed[..4])));
        prop_assert!(!shown.contains(&hex(&share.public()[..4])));
        prop_assert!(!shown.contains(&hex(&share.secret().as_bytes()[..4])));
    }

    #[test]
    fn a_device_id_survives_the_wire(id in any::<[u8; 32]>()) {
        let bytes = postcard::to_stdvec(&DeviceId(id)).unwrap();
        prop_assert_eq!(bytes.len(), 32);
        prop_assert_eq!(postcard::from_bytes::<DeviceId>(&bytes).unwrap(), DeviceId(id));
    }

    #[test]
    fn both_sides_of_a_link_bind_it_alike_and_no_other_link(
        knocker in any::<[u8; 32]>(),
        answerer in any::<[u8; 32]>(),
        relay in any::<[u8; 32]>(),
        secrets in prop::array::uniform2(any::<[u8; 12]>()),
    ) {
        let secrets = secrets.map(InviteSecret::from_bytes);
        prop_assume!(knocker != answerer && relay != answerer && relay != knocker);
        prop_assume!(secrets[0] != secrets[1]);
        let bound = link_binding(Role::Knocker, &knocker, &answerer, &secrets[0]);
        prop_assert_eq!(bound, link_binding(Role::Knocker, &knocker, &answerer, &secrets[0]));
        let others = [
            link_binding(Role::Answerer, &answerer, &knocker, &secrets[0]),
            link_binding(Role::Answerer, &knocker, &answerer, &secrets[0]),
            link_binding(Role::Knocker, &answerer, &knocker, &secrets[0]),
            link_binding(Role::Knocker, &relay, &answerer, &secrets[0]),
            link_binding(Role::Knocker, &knocker, &relay, &secrets[0]),
            link_binding(Role::Knocker, &knocker, &answerer, &secrets[1]),
        ];
        prop_assert!(!others.contains(&bound));
    }
}
