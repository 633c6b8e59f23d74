//! `onedrive-cli info_set`: changes an object's properties.

use clap::Args;
use serde_json::{Map, Value};

use crate::base::clock::Timestamp;
use crate::cli::error::{CliError, Kind};
use crate::cli::options::Dry;
use crate::cli::session::{Session, shown};
use crate::drive::object;
use crate::remote::extras::Beyond;
use crate::remote::{Item, Patch, Precondition};

/// Arguments of `info_set`.
#[derive(Args, Debug)]
pub struct Arguments {
    /// The object
    #[arg(value_name = "OBJECT")]
    object: String,

    /// What to set, as a JSON object, such as '{"name": "x.jpg"}': name, description, client_updated_time; with
    /// protocol: live also sort_by, title, artist, album, album_artist, genre. null takes a property away
    #[arg(value_name = "JSON")]
    properties: String,

    #[command(flatten)]
    dry: Dry,
}

/// Changes properties.
///
/// # Errors
/// The JSON makes no sense, or as every call to the cloud.
pub async fn run(arguments: &Arguments, session: &Session) -> Result<(), CliError> {
    let properties = Properties::parse(&arguments.properties)?;
    let item = session.find_to_change(&arguments.object).await?;
    properties.check(session)?;
    if arguments.dry.dry_run {
        return session.out.would(&format!("set {} of {}", properties.names(), shown(&item)));
    }
    let item = properties.apply(session, &item).await?;
    session.out.done(session.object(&item))
}

/// Properties that only the old service lets be set.
const OLD: [&str; 6] = ["sort_by", "title", "artist", "album", "album_artist", "genre"];

/// What shall be set.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Properties {
    name: Option<String>,
    modified: Option<Timestamp>,
    /// The others: texts, or nothing for what is to be taken away.
    others: Map<String, Value>,
}

impl Properties {
    /// Reads a JSON object.
    ///
    /// # Errors
    /// [`Kind::Usage`]: no JSON, no object, or a key that cannot be set.
    pub fn parse(text: &str) -> Result<Self, CliError> {
        let wrong = |sentence: String| CliError::new(Kind::Usage, sentence);
        let value: Value = serde_json::from_str(text).map_err(|error| wrong(format!("this is not JSON: {error}")))?;
        let Value::Object(members) = value else {
            return Err(wrong("this is JSON, but no object: it has to be like {\"name\": \"x.jpg\"}".to_owned()));
        };
        let mut properties = Self::default();
        for (key, value) in members {
            match (key.as_str(), value) {
                ("name", Value::String(name)) => properties.name = Some(name),
                ("client_updated_time" | "updated_time", Value::String(text)) => {
                    let at = object::read_time(&text).ok_or_else(|| {
                        wrong(format!("\"{text}\" is no time: they are like 2013-08-05T15:18:04+0000"))
                    })?;
                    properties.modified = Some(at);
                }
                ("name" | "client_updated_time" | "updated_time", _) => {
                    return Err(wrong(format!("\"{key}\" has to be a text")));
                }
                (other, value) if other == "description" || OLD.contains(&other) => {
                    if !matches!(value, Value::String(_) | Value::Null) {
                        return Err(wrong(format!("\"{key}\" has to be a text, or null to take it away")));
                    }
                    properties.others.insert(key, value);
                }
                _ => {
                    let old = OLD.join(", ");
                    return Err(wrong(format!(
                        "\"{key}\" cannot be set; what can: name, description, client_updated_time; with protocol: live \
                         also {old}"
                    )));
                }
            }
        }
        Ok(properties)
    }

    /// Whether the protocol lets them be set, as far as is known without asking.
    ///
    /// # Errors
    /// [`Kind::NotOffered`].
    pub fn check(&self, session: &Session) -> Result<(), CliError> {
        if self.modified.is_some() && !session.remote.caps().set_times {
            return Err(CliError::new(Kind::NotOffered, "this service does not let the time of an object be set"));
        }
        match OLD.iter().find(|key| self.others.contains_key(**key)) {
            Some(key) => session.offers(Beyond::OldProperties).map_err(|error| error.about(&format!("\"{key}\""))),
            None => Ok(()),
        }
    }

    /// Sets them.
    ///
    /// # Errors
    /// As every call to the cloud.
    pub async fn apply(&self, session: &Session, item: &Item) -> Result<Item, CliError> {
        // First what may be refused altogether.
        if !self.others.is_empty() {
            session.ask(async |extras| extras.set_properties(&item.id, &self.others).await).await?;
        }
        let mut item = item.clone();
        let patch = Patch { name: self.name.clone(), parent: None, modified: self.modified };
        if patch != Patch::default() {
            item = session.remote.change(&item.id, &patch, &Precondition::None).await?;
        }
        Ok(item)
    }

    fn names(&self) -> String {
        let mut names: Vec<&str> = self.name.iter().map(|_| "name").collect();
        names.extend(self.others.keys().map(String::as_str));
        names.extend(self.modified.map(|_| "client_updated_time"));
        if names.is_empty() { "nothing".to_owned() } else { names.join(", ") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_json_objects_of_known_keys() {
        let good = Properties::parse(r#"{"name": "x", "client_updated_time": "2013-08-05T15:18:04+0000"}"#);
        let good = good.expect("read");
        assert_eq!(good.modified, Some(Timestamp::from_seconds(1_375_715_884)));
        assert_eq!(good.names(), "name, client_updated_time");
        let old = Properties::parse(r#"{"genre": "Fado", "description": null, "sort_by": "size"}"#).expect("read");
        assert_eq!(old.others.len(), 3);
        for text in [
            "",
            "x",
            "[]",
            "1",
            r#"{"name": null}"#,
            r#"{"title": 1}"#,
            r#"{"id": "x"}"#,
            r#"{"updated_time": "noon"}"#,
        ] {
            assert_eq!(Properties::parse(text).expect_err(text).kind, Kind::Usage);
        }
    }
}
