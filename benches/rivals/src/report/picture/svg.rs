//! Writing SVG: elements that are closed and text that is escaped. It knows nothing of what is drawn.

use std::fmt::{Display, Write};

#[derive(Clone, Copy)]
pub(super) enum Anchor {
    Start,
    Middle,
    End,
}

/// How text looks.
#[derive(Clone, Copy)]
pub(super) struct Font {
    pub(super) size: f64,
    pub(super) color: &'static str,
    pub(super) bold: bool,
}

#[derive(Default)]
pub(super) struct Svg {
    body: String,
}

impl Svg {
    pub(super) fn rect(&mut self, [x, y, width, height]: [f64; 4], fill: &str, radius: f64) {
        self.element(
            "rect",
            &[
                ("x", &near(x)),
                ("y", &near(y)),
                ("width", &near(width)),
                ("height", &near(height)),
                ("rx", &radius),
                ("fill", &fill),
            ],
        );
    }

    pub(super) fn line(&mut self, [x1, y1, x2, y2]: [f64; 4], color: &str, width: f64) {
        self.element(
            "line",
            &[
                ("x1", &near(x1)),
                ("y1", &near(y1)),
                ("x2", &near(x2)),
                ("y2", &near(y2)),
                ("stroke", &color),
                ("stroke-width", &width),
            ],
        );
    }

    pub(super) fn text(&mut self, [x, y]: [f64; 2], anchor: Anchor, font: Font, text: &str) {
        let anchor = match anchor {
            Anchor::Start => "start",
            Anchor::Middle => "middle",
            Anchor::End => "end",
        };
        let weight = if font.bold { "bold" } else { "normal" };
        let attributes: [(&str, &dyn Display); 6] = [
            ("x", &near(x)),
            ("y", &near(y)),
            ("text-anchor", &anchor),
            ("font-size", &font.size),
            ("font-weight", &weight),
            ("fill", &font.color),
        ];
        self.open("text", &attributes);
        writeln!(self.body, ">{}</text>", escaped(text)).unwrap();
    }

    /// Draws what the other one has drawn.
    pub(super) fn append(&mut self, other: Self) {
        self.body.push_str(&other.body);
    }

    /// What was drawn, on a sheet of this size.
    pub(super) fn finish(self, width: f64, height: f64, title: &str) -> String {
        let title = escaped(title);
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" \
             viewBox=\"0 0 {width} {height}\" role=\"img\" \
             font-family=\"system-ui, -apple-system, 'Segoe UI', 'DejaVu Sans', Helvetica, Arial, sans-serif\">\n\
             <title>{title}</title>\n{}</svg>\n",
            self.body
        )
    }

    fn element(&mut self, name: &str, attributes: &[(&str, &dyn Display)]) {
        self.open(name, attributes);
        self.body.push_str("/>\n");
    }

    fn open(&mut self, name: &str, attributes: &[(&str, &dyn Display)]) {
        // Writing to a string cannot fail.
        write!(self.body, "<{name}").unwrap();
        for (attribute, value) in attributes {
            write!(
                self.body,
                " {attribute}=\"{}\"",
                escaped(&value.to_string())
            )
            .unwrap();
        }
    }
}

/// A tenth of a pixel is as fine as anybody sees.
fn near(value: f64) -> f64 {
    (value * 10.0).round() / 10.0
}

fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            // XML has no way to say most of them.
            control if control.is_control() => escaped.push(' '),
            other => escaped.push(other),
        }
    }
    escaped
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// Goes through tags and text: every tag that is opened is closed in its turn, attributes are quoted and nothing
    /// is left raw. Returns the text between the tags.
    pub(crate) fn text_of_well_formed(xml: &str) -> Vec<String> {
        let mut open: Vec<&str> = Vec::new();
        let mut found = Vec::new();
        let mut rest = xml;
        while let Some((text, after)) = rest.split_once('<') {
            assert!(!text.contains('>'), "a raw > in {text:?}");
            if !text.trim().is_empty() {
                assert!(!open.is_empty(), "{text:?} outside of everything");
                found.push(unescaped(text));
            }
            let (tag, after) = after.split_once('>').expect("a tag ends");
            rest = after;
            if let Some(name) = tag.strip_prefix('/') {
                assert_eq!(open.pop(), Some(name));
                assert!(!open.is_empty() || rest.trim().is_empty(), "one root");
                continue;
            }
            let (name, attributes) = tag.split_once(' ').unwrap_or((tag, ""));
            let is_empty = attributes.ends_with('/');
            check_attributes(attributes.trim_end_matches('/'));
            if !is_empty {
                open.push(name);
            }
        }
        assert!(open.is_empty(), "never closed: {open:?}");
        found
    }

    fn check_attributes(mut attributes: &str) {
        while !attributes.trim().is_empty() {
            let (name, after) = attributes
                .split_once("=\"")
                .expect("an attribute has a value");
            assert!(
                name.trim()
                    .chars()
                    .all(|c| c.is_ascii_alphanumeric() || c == '-'),
                "{name:?}"
            );
            let (value, after) = after.split_once('"').expect("a value is quoted");
            unescaped(value);
            attributes = after;
        }
    }

    fn unescaped(text: &str) -> String {
        let mut pieces = text.split('&');
        let mut plain = pieces.next().unwrap().to_owned();
        for piece in pieces {
            let (name, after) = piece.split_once(';').expect("a raw &");
            let character = match name {
                "amp" => '&',
                "lt" => '<',
                "gt" => '>',
                "quot" => '"',
                _ => panic!("there is no &{name};"),
            };
            plain.push(character);
            plain.push_str(after);
        }
        plain
    }

    #[test]
    fn what_was_written_is_well_formed_and_says_the_same() {
        let mut svg = Svg::default();
        let font = Font {
            size: 12.0,
            color: "\"red\" & <blue>",
            bold: true,
        };
        svg.rect([0.0, 0.04, 1.0, 2.0], "white", 1.0);
        svg.text([1.0, 2.0], Anchor::End, font, "a < b && c > \"d\"\u{7}");
        let text = svg.finish(10.0, 20.0, "R&D");
        assert_eq!(text_of_well_formed(&text), ["R&D", "a < b && c > \"d\" "]);
    }

    #[test]
    #[should_panic(expected = "never closed")]
    fn the_check_finds_what_is_not_closed() {
        text_of_well_formed("<a><b></b>");
    }

    #[test]
    #[should_panic(expected = "a raw &")]
    fn the_check_finds_what_is_not_escaped() {
        text_of_well_formed("<a>b & c</a>");
    }
}
