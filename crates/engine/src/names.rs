//! Friendly names for devices that nobody has named: "Quiet Heron".

const QUALITIES: [&str; 32] = [
    "Quiet", "Amber", "Brisk", "Calm", "Clever", "Copper", "Curious", "Early", "Fair", "Gentle",
    "Golden", "Happy", "Hazel", "Jolly", "Kind", "Lively", "Lucky", "Mellow", "Merry", "Misty",
    "Noble", "Patient", "Proud", "Rosy", "Silver", "Sunny", "Swift", "Tidy", "Velvet", "Warm",
    "Wise", "Witty",
];

const BIRDS: [&str; 32] = [
    "Heron",
    "Avocet",
    "Bluebird",
    "Bunting",
    "Chough",
    "Crane",
    "Curlew",
    "Dipper",
    "Dove",
    "Dunlin",
    "Finch",
    "Goshawk",
    "Grebe",
    "Hoopoe",
    "Ibis",
    "Jackdaw",
    "Kestrel",
    "Kingfisher",
    "Lapwing",
    "Linnet",
    "Magpie",
    "Martin",
    "Oriole",
    "Osprey",
    "Owl",
    "Plover",
    "Puffin",
    "Robin",
    "Siskin",
    "Starling",
    "Swallow",
    "Wren",
];

/// A name drawn by two random bytes.
pub(crate) fn draw(random: [u8; 2]) -> String {
    let quality = QUALITIES[random[0] as usize % QUALITIES.len()];
    let bird = BIRDS[random[1] as usize % BIRDS.len()];
    format!("{quality} {bird}")
}
