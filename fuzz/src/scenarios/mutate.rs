//! Changes scenarios as the trees they are: statements go elsewhere, come twice or not at all, and take each other's fields, so that most of
//! what comes out can be read again.

use serde_json::Value as Json;

/// Small numbers from a seed.
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_mul(0x5851_F42D_4C95_7F2D).wrapping_add(1);
        (self.0 >> 33) as usize % limit.max(1)
    }
}

/// The text, changed once or a few times; none if it is not JSON.
pub fn mutated(text: &[u8], seed: u32) -> Option<Vec<u8>> {
    let mut json: Json = serde_json::from_slice(text).ok()?;
    let mut dice = Dice(seed.into());
    for _ in 0..=dice.below(3) {
        change(&mut json, None, &mut dice);
    }
    Some(json.to_string().into_bytes())
}

/// The first text with a piece of the second.
pub fn crossed(text: &[u8], other: &[u8], seed: u32) -> Option<Vec<u8>> {
    let mut json: Json = serde_json::from_slice(text).ok()?;
    let other = serde_json::from_slice(other).ok()?;
    change(&mut json, Some(&other), &mut Dice(seed.into()));
    Some(json.to_string().into_bytes())
}

/// One change, with something from `other` or from the scenario itself.
fn change(json: &mut Json, other: Option<&Json>, dice: &mut Dice) {
    let source = other.unwrap_or(json).clone();
    let lists = places(json, |json| json.is_array());
    let list = pick(&lists, dice).and_then(|path| json.pointer_mut(path));
    match dice.below(5) {
        // A statement comes, or goes.
        0 | 1 => {
            if let Some(Json::Array(list)) = list {
                let statements = places(&source, |json| json.get("op").is_some());
                if let Some(statement) =
                    pick(&statements, dice).and_then(|path| source.pointer(path))
                {
                    list.insert(dice.below(list.len() + 1), statement.clone());
                }
            }
        }
        2 => {
            if let Some(Json::Array(list)) = list
                && !list.is_empty()
            {
                list.remove(dice.below(list.len()));
            }
        }
        // A leaf becomes another of its type.
        3 => {
            let leaves = places(json, |json| json.is_string() || json.is_number());
            if let Some(leaf) = pick(&leaves, dice).and_then(|path| json.pointer_mut(path)) {
                let is_text = leaf.is_string();
                let others = places(&source, |json| {
                    json.is_string() == is_text && (is_text || json.is_number())
                });
                let other = pick(&others, dice).and_then(|path| source.pointer(path));
                *leaf = match other {
                    Some(other) if is_text || dice.below(2) == 0 => other.clone(),
                    _ => number(dice).into(),
                };
            }
        }
        // A field takes what the same field holds elsewhere.
        _ => {
            let fields = places(json, |json| !json.is_null());
            if let Some(path) = pick(&fields, dice) {
                let name = path.rsplit('/').next().unwrap_or_default();
                let alike = places(&source, |_| true);
                let alike: Vec<_> = alike
                    .into_iter()
                    .filter(|other| other.rsplit('/').next() == Some(name))
                    .collect();
                let taken = pick(&alike, dice).and_then(|path| source.pointer(path));
                if let (Some(taken), Some(place)) = (taken, json.pointer_mut(path)) {
                    *place = taken.clone();
                }
            }
        }
    }
}

fn number(dice: &mut Dice) -> i64 {
    const ODD: [i64; 8] = [0, 1, -1, 2, 3, 1_000, i64::MAX, i64::MIN];
    ODD[dice.below(ODD.len())]
}

fn pick<'a>(places: &'a [String], dice: &mut Dice) -> Option<&'a str> {
    places.get(dice.below(places.len())).map(String::as_str)
}

/// The pointers of all values that fit.
fn places(json: &Json, fits: impl Fn(&Json) -> bool) -> Vec<String> {
    let mut found = Vec::new();
    let mut left = vec![(String::new(), json)];
    while let Some((path, json)) = left.pop() {
        match json {
            Json::Array(list) => {
                let below = list.iter().enumerate();
                left.extend(below.map(|(index, json)| (format!("{path}/{index}"), json)));
            }
            Json::Object(fields) => {
                let below = fields.iter().filter(|(name, _)| !name.contains(['/', '~']));
                left.extend(below.map(|(name, json)| (format!("{path}/{name}"), json)));
            }
            _ => {}
        }
        if fits(json) {
            found.push(path);
        }
    }
    found
}
