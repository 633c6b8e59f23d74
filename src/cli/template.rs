//! The argument of `-k`: a key, or a format template of Python with the object as argument 0.
//!
//! Scripts for python-onedrive hold templates such as `{0[id]} {0[from][name]}`, so what Python's `str.format` makes of
//! them has to come out. All of the grammar is read that makes sense for objects of text and numbers; the rest is
//! refused with a sentence instead of being printed as something else.

use serde_json::Value;

use super::print::{Node, python, python_repr};

/// A template that can be filled in.
#[derive(Clone, PartialEq, Debug)]
pub struct Template {
    pieces: Vec<Piece>,
    /// The whole argument, if it is a plain key.
    plain: Option<String>,
}

#[derive(Clone, PartialEq, Debug)]
enum Piece {
    Literal(String),
    Field { path: Vec<Step>, conversion: Option<char>, form: Form },
}

#[derive(Clone, PartialEq, Debug)]
enum Step {
    Key(String),
    Position(usize),
}

/// Python's format specification: `[[fill]align][0][width][,][.precision][type]`.
#[derive(Clone, PartialEq, Debug, Default)]
struct Form {
    fill: Option<char>,
    align: Option<char>,
    width: usize,
    thousands: bool,
    precision: Option<usize>,
    kind: Option<char>,
}

/// Why a template cannot be used.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("-k cannot be \"{template}\": {reason}; it is a key such as id, or a template such as '{{0[id]}} {{0[name]}}'")]
pub struct BadTemplate {
    template: String,
    reason: String,
}

/// The widest field that is filled up.
const WIDEST: usize = 10_000;

impl Template {
    /// Reads a key or a template.
    ///
    /// # Errors
    /// Braces that do not match, another argument than 0, or a format that Python does not know.
    pub fn parse(text: &str) -> Result<Self, BadTemplate> {
        if !text.contains(['{', '}']) {
            let path = vec![Step::Key(text.to_owned())];
            let pieces = vec![Piece::Field { path, conversion: None, form: Form::default() }];
            return Ok(Self { pieces, plain: Some(text.to_owned()) });
        }
        pieces(text)
            .map(|pieces| Self { pieces, plain: None })
            .map_err(|reason| BadTemplate { template: text.to_owned(), reason })
    }

    /// The text for an object; `None` if it lacks a key that the template names.
    pub fn render(&self, object: &Node) -> Option<String> {
        let mut out = String::new();
        for piece in &self.pieces {
            match piece {
                Piece::Literal(text) => out.push_str(text),
                Piece::Field { path, conversion, form } => {
                    let value = path.iter().try_fold(object, |value, step| member(value, step))?;
                    let text = match conversion {
                        Some('r') => Node::Text(python_repr(value)),
                        Some(_) => Node::Text(python(value)),
                        None => value.clone(),
                    };
                    out.push_str(&form.apply(&text));
                }
            }
        }
        Some(out)
    }

    /// What it selects of a JSON value: of a list what it selects of each element, of an object the value of a plain
    /// key or the text of a template. `None`: nothing.
    pub fn select(&self, value: &Value) -> Option<Value> {
        match value {
            Value::Array(items) => Some(items.iter().filter_map(|item| self.select(item)).collect()),
            Value::Object(members) => match &self.plain {
                Some(key) => members.get(key).cloned(),
                None => self.render(&Node::from(value.clone())).map(Value::String),
            },
            other => Some(other.clone()),
        }
    }
}

fn member<'a>(value: &'a Node, step: &Step) -> Option<&'a Node> {
    match (value, step) {
        (Node::Map(members), Step::Key(key)) => members.iter().find(|(name, _)| name == key).map(|(_, value)| value),
        (Node::List(items), Step::Position(at)) => items.get(*at),
        _ => None,
    }
}

fn pieces(text: &str) -> Result<Vec<Piece>, String> {
    let (mut pieces, mut literal) = (Vec::new(), String::new());
    let mut rest = text;
    while let Some(at) = rest.find(['{', '}']) {
        literal.push_str(&rest[..at]);
        let (brace, after) = rest[at..].split_at(1);
        if let Some(after) = after.strip_prefix(brace) {
            literal.push_str(brace);
            rest = after;
        } else if brace == "}" {
            return Err("a } has no {".to_owned());
        } else {
            let end = after.find('}').ok_or("a { is not closed")?;
            if !literal.is_empty() {
                pieces.push(Piece::Literal(std::mem::take(&mut literal)));
            }
            pieces.push(field(&after[..end])?);
            rest = &after[end + 1..];
        }
    }
    literal.push_str(rest);
    if !literal.is_empty() {
        pieces.push(Piece::Literal(literal));
    }
    Ok(pieces)
}

fn field(text: &str) -> Result<Piece, String> {
    if text.contains('{') {
        return Err("a field inside a field".to_owned());
    }
    // A bracketed key may hold a colon or an exclamation mark.
    let (mut name_end, mut inside) = (text.len(), false);
    for (at, c) in text.char_indices() {
        match c {
            '[' => inside = true,
            ']' => inside = false,
            '!' | ':' if !inside => {
                name_end = at;
                break;
            }
            _ => {}
        }
    }
    let (name, tail) = text.split_at(name_end);
    let (conversion, form) = match tail.strip_prefix('!') {
        None => (None, tail),
        Some(tail) => {
            let letter = tail.chars().next().filter(|c| "rsa".contains(*c)).ok_or("a ! without r or s")?;
            (Some(letter), &tail[1..])
        }
    };
    let form = match form.strip_prefix(':') {
        Some(form) => Form::parse(form)?,
        None if form.is_empty() => Form::default(),
        None => return Err(format!("\"{form}\" after a conversion")),
    };
    Ok(Piece::Field { path: path(name)?, conversion, form })
}

fn path(name: &str) -> Result<Vec<Step>, String> {
    let (argument, keys) = name.find('[').map_or((name, ""), |at| name.split_at(at));
    if !argument.is_empty() && argument != "0" {
        return Err(format!("there is no argument \"{argument}\", only 0"));
    }
    let (mut steps, mut rest) = (Vec::new(), keys);
    while !rest.is_empty() {
        let inner = rest.strip_prefix('[').ok_or_else(|| format!("\"{rest}\" after a key"))?;
        let (key, after) = inner.split_once(']').ok_or("a [ is not closed")?;
        if key.is_empty() {
            return Err("a key is empty".to_owned());
        }
        steps.push(match key.parse() {
            Ok(position) => Step::Position(position),
            Err(_) => Step::Key(key.to_owned()),
        });
        rest = after;
    }
    Ok(steps)
}

impl Form {
    fn parse(text: &str) -> Result<Self, String> {
        let unknown = || format!("Python has no format \"{text}\" for this");
        let mut form = Self::default();
        let mut rest: Vec<char> = text.chars().collect();
        let is_align = |c: &char| "<>^=".contains(*c);
        if rest.get(1).is_some_and(is_align) {
            (form.fill, form.align) = (Some(rest[0]), Some(rest[1]));
            rest.drain(..2);
        } else if rest.first().is_some_and(is_align) {
            form.align = Some(rest.remove(0));
        }
        if rest.first() == Some(&'0') {
            form.fill.get_or_insert('0');
            form.align.get_or_insert('>');
        }
        let number = |rest: &mut Vec<char>| {
            let digits: String = rest.iter().take_while(|c| c.is_ascii_digit()).collect();
            rest.drain(..digits.len());
            (!digits.is_empty()).then(|| digits.parse::<usize>().ok().filter(|&n| n <= WIDEST).ok_or_else(unknown))
        };
        form.width = number(&mut rest).transpose()?.unwrap_or(0);
        if rest.first() == Some(&',') {
            form.thousands = true;
            rest.remove(0);
        }
        if rest.first() == Some(&'.') {
            rest.remove(0);
            form.precision = Some(number(&mut rest).transpose()?.ok_or_else(unknown)?);
        }
        match rest.as_slice() {
            [] => {}
            [kind @ ('s' | 'd' | 'n' | 'f')] => form.kind = Some(*kind),
            _ => return Err(unknown()),
        }
        Ok(form)
    }

    fn apply(&self, value: &Node) -> String {
        let (mut text, right) = match value {
            Node::Number(number) => {
                let text = match (self.kind, self.precision, number.as_f64()) {
                    (Some('f'), precision, Some(float)) => format!("{float:.*}", precision.unwrap_or(6)),
                    (_, Some(precision), Some(float)) if !number.is_i64() && !number.is_u64() => {
                        format!("{float:.precision$}")
                    }
                    _ => number.to_string(),
                };
                (if self.thousands { grouped(&text) } else { text }, true)
            }
            other => {
                let text = python(other);
                (self.precision.map_or(text.clone(), |most| text.chars().take(most).collect()), false)
            }
        };
        let missing = self.width.saturating_sub(text.chars().count());
        let fill = |count: usize| self.fill.unwrap_or(' ').to_string().repeat(count);
        match self.align.unwrap_or(if right { '>' } else { '<' }) {
            '<' => text.push_str(&fill(missing)),
            '^' => text = format!("{}{text}{}", fill(missing / 2), fill(missing - missing / 2)),
            _ => text.insert_str(0, &fill(missing)),
        }
        text
    }
}

/// With commas between thousands.
fn grouped(number: &str) -> String {
    let (sign, digits) = number.strip_prefix('-').map_or(("", number), |digits| ("-", digits));
    let (whole, fraction) = digits.find('.').map_or((digits, ""), |at| digits.split_at(at));
    let mut out = String::new();
    for (at, digit) in whole.chars().enumerate() {
        if at > 0 && (whole.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    format!("{sign}{out}{fraction}")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn filled(template: &str, value: Value) -> Option<String> {
        Template::parse(template).expect(template).render(&Node::from(value))
    }

    #[test]
    fn templates_of_the_old_documentation() {
        let object = json!({"id": "file.1", "from": {"name": "Ada", "id": null}, "size": 1234567, "tags": ["x"]});
        for (template, text) in [
            ("id", "file.1"),
            ("{0[id]} {0[from][name]}", "file.1 Ada"),
            ("{[id]}", "file.1"),
            ("{{{0[id]}}}", "{file.1}"),
            ("{0[from][id]}", "None"),
            ("{0[id]!r}", "'file.1'"),
            ("{0[id]:>8}|", "  file.1|"),
            ("{0[id]:8}|", "file.1  |"),
            ("{0[id]:*^8.4}", "**file**"),
            ("{0[size]:>12,}", "   1,234,567"),
            ("{0[size]:010d}", "0001234567"),
            ("{0[size]:.1f}", "1234567.0"),
            ("{0[tags][0]}", "x"),
            ("{0[from]}", "{'id': None, 'name': 'Ada'}"),
        ] {
            assert_eq!(filled(template, object.clone()).as_deref(), Some(text), "{template}");
        }
    }

    #[test]
    fn an_object_without_the_key_gives_nothing() {
        for template in ["link", "{0[id]} {0[link]}", "{0[id][name]}", "{0[0]}"] {
            assert_eq!(filled(template, json!({"id": "1"})), None, "{template}");
        }
    }

    #[test]
    fn what_python_would_refuse_is_refused() {
        for template in [
            "{0[id]",
            "id}",
            "{1[id]}",
            "{name}",
            "{0[id]x}",
            "{0[]}",
            "{0[id]!z}",
            "{0[id]:q}",
            "{0[id]:{0}}",
            "{0[id",
        ] {
            let error = Template::parse(template).expect_err(template).to_string();
            assert!(error.starts_with("-k cannot be"), "{error}");
        }
        assert!(Template::parse("{0[id]:99999999999}").is_err(), "no room for that");
    }

    #[test]
    fn json_keeps_what_is_selected() {
        let list = json!([{"id": "1", "n": 2}, {"id": "2"}]);
        assert_eq!(Template::parse("n").expect("a key").select(&list), Some(json!([2])));
        assert_eq!(Template::parse("{0[id]}").expect("a template").select(&list), Some(json!(["1", "2"])));
        assert_eq!(Template::parse("n").expect("a key").select(&json!({})), None);
    }
}
