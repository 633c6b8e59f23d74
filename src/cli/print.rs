//! What commands print: the printer of python-onedrive, `-k` templates, and `--json`.
//!
//! People have scripts that read what python-onedrive printed, so the form is kept to the letter: lines like YAML
//! that are not YAML, keys in the order of their code points, `True` and `None` as Python writes them. Two things are
//! always true here: text that somebody else wrote never steers a terminal (on one, control characters and those that
//! turn the direction of writing are shown as escapes; in a pipe every byte is as it was), and nothing is lost for
//! having the name of something else (a mapping may hold one name twice).

use std::io::{self, IsTerminal as _, Write as _};

use serde::Serialize;
use serde_json::{Number, Value};

use super::encoding::printed;
use super::error::{CliError, Kind};
use super::options::Global;
use super::template::Template;
use crate::base::name::is_unprintable;

/// A value to be printed. Unlike JSON it may have one key several times.
#[derive(Clone, PartialEq, Debug)]
pub enum Node {
    /// Nothing: `None`.
    Null,
    /// `True` or `False`.
    Bool(bool),
    /// A number.
    Number(Number),
    /// Text, as it is.
    Text(String),
    /// Lines that begin with a dash.
    List(Vec<Node>),
    /// Lines of a key and a value, sorted when printed.
    Map(Vec<(String, Node)>),
}

impl From<Value> for Node {
    fn from(value: Value) -> Self {
        match value {
            Value::Null => Self::Null,
            Value::Bool(value) => Self::Bool(value),
            Value::Number(value) => Self::Number(value),
            Value::String(value) => Self::Text(value),
            Value::Array(values) => Self::List(values.into_iter().map(Self::from).collect()),
            Value::Object(members) => {
                Self::Map(members.into_iter().map(|(key, value)| (key, Self::from(value))).collect())
            }
        }
    }
}

impl From<&str> for Node {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

/// The text of a value in python-onedrive's form.
///
/// | value | form |
/// | --- | --- |
/// | mapping | `key: value` a line, sorted; a mapping or list inside follows on lines of its own, two deeper |
/// | list | `- ` before each; of a mapping before its first key, the rest stands below it |
/// | mapping, with a template | the template's text; nothing if a key is missing |
/// | text, number | as it is |
/// | truth, nothing | `True`, `False`, `None` |
pub fn text_of(node: &Node, template: Option<&Template>) -> String {
    let mut out = String::new();
    Printer { template, out: &mut out }.node(node, "", None);
    out
}

struct Printer<'a> {
    template: Option<&'a Template>,
    out: &'a mut String,
}

impl Printer<'_> {
    /// `first` is what the first line begins with instead of `indent`.
    fn node(&mut self, node: &Node, indent: &str, first: Option<&str>) {
        let lead = first.unwrap_or(indent).to_owned();
        match node {
            Node::List(items) => {
                let (mut lead, deeper) = (format!("{lead}- "), format!("{indent}  "));
                for item in items {
                    let before = self.out.len();
                    self.node(item, &deeper, Some(&lead));
                    if self.out.len() > before {
                        lead = format!("{indent}- ");
                    }
                }
            }
            Node::Map(members) => match self.template {
                Some(template) => {
                    if let Some(text) = template.render(node) {
                        self.line(&lead, &text);
                    }
                }
                None => self.members(members, indent, lead),
            },
            scalar => self.line(&lead, &python(scalar)),
        }
    }

    fn members(&mut self, members: &[(String, Node)], indent: &str, mut lead: String) {
        let mut sorted: Vec<&(String, Node)> = members.iter().collect();
        sorted.sort_by(|a, b| a.0.cmp(&b.0));
        for (key, value) in sorted {
            match value {
                Node::List(_) | Node::Map(_) => {
                    self.line(&lead, &format!("{key}:"));
                    self.node(value, &format!("{indent}  "), None);
                }
                scalar => self.line(&lead, &format!("{key}: {}", python(scalar))),
            }
            lead = indent.to_owned();
        }
    }

    fn line(&mut self, lead: &str, text: &str) {
        self.out.push_str(lead);
        self.out.push_str(text);
        self.out.push('\n');
    }
}

/// A value as Python's `str` gives it.
pub fn python(node: &Node) -> String {
    match node {
        Node::Text(text) => text.clone(),
        other => python_repr(other),
    }
}

/// A value as Python's `repr` gives it.
pub fn python_repr(node: &Node) -> String {
    match node {
        Node::Null => "None".to_owned(),
        Node::Bool(true) => "True".to_owned(),
        Node::Bool(false) => "False".to_owned(),
        Node::Number(number) => number.to_string(),
        Node::Text(text) => quoted(text),
        Node::List(items) => format!("[{}]", items.iter().map(python_repr).collect::<Vec<_>>().join(", ")),
        Node::Map(members) => {
            let member = |(key, value): &(String, Node)| format!("{}: {}", quoted(key), python_repr(value));
            format!("{{{}}}", members.iter().map(member).collect::<Vec<_>>().join(", "))
        }
    }
}

fn quoted(text: &str) -> String {
    let mark = if text.contains('\'') && !text.contains('"') { '"' } else { '\'' };
    let mut out = String::from(mark);
    for c in text.chars() {
        match c {
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            '\r' => out.push_str("\\r"),
            '\\' => out.push_str("\\\\"),
            c if c == mark => out.extend(['\\', c]),
            c => out.push(c),
        }
    }
    out.push(mark);
    out
}

/// Text as it may go to a terminal: what a terminal obeys instead of showing it becomes an escape such as `\u{1b}`.
/// Line ends stay, because they are ours: nothing that is printed as one value has any left.
pub fn tamed(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if c != '\n' && is_unprintable(c) {
            out.extend(c.escape_unicode());
        } else {
            out.push(c);
        }
    }
    out
}

/// A value in which line ends are escapes, for a terminal, where they would let a name pass for several.
fn on_one_line(node: &Node) -> Node {
    let line = |text: &str| text.replace('\n', "\\n");
    match node {
        Node::Text(text) => Node::Text(line(text)),
        Node::List(items) => Node::List(items.iter().map(on_one_line).collect()),
        Node::Map(members) => Node::Map(members.iter().map(|(key, value)| (line(key), on_one_line(value))).collect()),
        other => other.clone(),
    }
}

/// Where a command's results go.
#[derive(Clone, Debug)]
pub struct Output {
    json: bool,
    quiet: bool,
    debug: bool,
    template: Option<Template>,
    terminal: bool,
}

impl Output {
    /// As the options say, for this process's standard output.
    ///
    /// # Errors
    /// [`Kind::Usage`]: the template of `-k` makes no sense.
    pub fn new(global: &Global) -> Result<Self, CliError> {
        let template = match global.object_key.as_deref() {
            Some(text) if !text.trim().is_empty() => {
                Some(Template::parse(text).map_err(|error| CliError::new(Kind::Usage, error))?)
            }
            _ => None,
        };
        Ok(Self {
            json: global.json,
            quiet: global.quiet,
            debug: global.debug,
            template,
            terminal: io::stdout().is_terminal(),
        })
    }

    /// Whether `--json` was given.
    pub fn json(&self) -> bool {
        self.json
    }

    /// Whether `--quiet` was given.
    pub fn quiet(&self) -> bool {
        self.quiet
    }

    /// Whether `-k` was given.
    pub fn selects(&self) -> bool {
        self.template.is_some()
    }

    /// Prints a result: with `--json` as one line of JSON.
    ///
    /// # Errors
    /// Standard output cannot be written (a reader that has gone is no error).
    pub fn data(&self, value: Value) -> Result<(), CliError> {
        if self.json {
            return self.json_line(&value);
        }
        self.node(&Node::from(value))
    }

    /// Prints a result that has one form for people and another for programs.
    ///
    /// # Errors
    /// As for [`Output::data`].
    pub fn either(&self, node: &Node, value: &Value) -> Result<(), CliError> {
        if self.json { self.json_line(value) } else { self.node(node) }
    }

    /// Prints the result of a command that says nothing when all is well: only with `--json` or `--debug`.
    ///
    /// # Errors
    /// As for [`Output::data`].
    pub fn done(&self, value: Value) -> Result<(), CliError> {
        if self.json || self.debug || self.template.is_some() { self.data(value) } else { Ok(()) }
    }

    /// A sentence on standard error, unless `--quiet`.
    pub fn note(&self, sentence: &str) {
        if !self.quiet {
            say(&tamed(sentence));
        }
    }

    /// Says what `--dry-run` leaves undone: a sentence, or with `--json` an object with `dry_run`.
    ///
    /// # Errors
    /// As for [`Output::data`].
    pub fn would(&self, sentence: &str) -> Result<(), CliError> {
        would(self.json, sentence)
    }

    /// A line of text for people.
    ///
    /// # Errors
    /// As for [`Output::data`].
    pub fn line(&self, text: &str) -> Result<(), CliError> {
        write_out(&format!("{}\n", self.safe(text)))
    }

    fn safe(&self, text: &str) -> String {
        if self.terminal { tamed(text) } else { text.to_owned() }
    }

    fn node(&self, node: &Node) -> Result<(), CliError> {
        let node = if self.terminal { &on_one_line(node) } else { node };
        write_out(&self.safe(&text_of(node, self.template.as_ref())))
    }

    fn json_line(&self, value: &Value) -> Result<(), CliError> {
        let selected = match &self.template {
            Some(template) => template.select(value),
            None => Some(value.clone()),
        };
        selected.map_or(Ok(()), |value| write_out(&json_text(&value)))
    }
}

/// A value as one line of JSON.
pub fn json_text(value: &impl Serialize) -> String {
    let mut line = serde_json::to_string(value).expect("invariant: plain data always serialises");
    line.push('\n');
    line
}

/// Says what `--dry-run` leaves undone: a sentence, or with `--json` an object with `dry_run`.
///
/// # Errors
/// As for [`write_out`].
pub fn would(json: bool, sentence: &str) -> Result<(), CliError> {
    if json {
        return write_out(&json_text(&serde_json::json!({ "dry_run": sentence })));
    }
    print(&format!("would {sentence}\n"))
}

/// Writes text to standard output, fit for a terminal if that is one: names of files are in most of it.
///
/// # Errors
/// As for [`write_out`].
pub fn print(text: &str) -> Result<(), CliError> {
    if io::stdout().is_terminal() { write_out(&tamed(text)) } else { write_out(text) }
}

/// A line on standard error. That nobody reads it is no mistake.
pub fn say(line: &str) {
    let mut error = io::stderr().lock();
    let _ = error.write_all(&printed(line)).and_then(|()| error.write_all(b"\n"));
}

/// Writes to standard output, where nobody may be left to read: `| head` is no mistake.
///
/// # Errors
/// The output cannot be written.
pub fn write_out(text: &str) -> Result<(), CliError> {
    let mut out = io::stdout().lock();
    match out.write_all(&printed(text)).and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(CliError::new(Kind::LocalFile, format!("cannot write the output: {error}")))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn printed(value: Value, template: Option<&str>) -> String {
        let template = template.map(|text| Template::parse(text).expect("a template"));
        text_of(&Node::from(value), template.as_ref())
    }

    #[test]
    fn every_form_of_the_old_printer() {
        assert_eq!(printed(json!(["Documents", "Pics"]), None), "- Documents\n- Pics\n");
        assert_eq!(printed(json!({"quota": "25.0G", "free": "24.9G"}), None), "free: 24.9G\nquota: 25.0G\n");
        assert_eq!(
            printed(json!({"b": {"y": null, "x": true}, "a": [1, {"p": "q", "o": 2.5}], "c": ""}), None),
            "a:\n  - 1\n  - o: 2.5\n    p: q\nb:\n  x: True\n  y: None\nc: \n"
        );
        assert_eq!(printed(json!([{"id": "1", "from": {"name": "N"}}]), None), "- from:\n    name: N\n  id: 1\n");
        assert_eq!(printed(json!([["a", "b"], "c"]), None), "- - a\n  - b\n- c\n");
        assert_eq!(printed(json!({"a": [], "b": {}}), None), "a:\nb:\n");
        assert_eq!(printed(json!(false), None), "False\n");
    }

    #[test]
    fn one_name_twice_is_printed_twice() {
        let twice =
            Node::Map(vec![("b".into(), "file".into()), ("a".into(), "x".into()), ("b".into(), "photo".into())]);
        assert_eq!(text_of(&twice, None), "a: x\nb: file\nb: photo\n");
    }

    #[test]
    fn a_template_takes_the_place_of_each_object() {
        let list = json!([{"id": "1", "name": "a"}, {"name": "no id"}, {"id": "2", "name": "b"}]);
        assert_eq!(printed(list.clone(), Some("id")), "- 1\n- 2\n");
        assert_eq!(printed(list, Some("{0[id]} {0[name]}")), "- 1 a\n- 2 b\n");
        assert_eq!(printed(json!({"name": "x"}), Some("id")), "");
    }

    #[test]
    fn a_name_cannot_steer_a_terminal() {
        assert_eq!(tamed("a\u{1b}[2Jb\u{202e}c\n"), "a\\u{1b}[2Jb\\u{202e}c\n");
        let Node::Text(line) = on_one_line(&Node::Text("a\nb".into())) else { panic!("text") };
        assert_eq!(line, "a\\nb");
    }

    #[test]
    fn values_look_as_python_writes_them() {
        let node = Node::from(json!({"a": ["it's", null, true, 1]}));
        assert_eq!(python(&node), "{'a': [\"it's\", None, True, 1]}");
        assert_eq!(python_repr(&Node::Text("a'\"\\\n".into())), "'a\\'\"\\\\\\n'");
    }
}
