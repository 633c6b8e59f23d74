//! The encoding of arguments and output, for terminals and scripts that are not UTF-8 (`-e`).
//!
//! Names are Unicode in the cloud and bytes on a command line. Arguments are decoded before they are parsed, text is
//! encoded when it is printed, and the path of a local file is made bytes again, so that the file of that name is found.
//! Content is never touched. The encoding of this process is said once, before anything is parsed.
//!
//! | `-e` | arguments | output |
//! | --- | --- | --- |
//! | nothing, `utf-8`, `ascii` | as they are | UTF-8 |
//! | `detect`, empty | UTF-8 where they are that, else guessed from all that are not; as they are if the guess does not fit | UTF-8 |
//! | another name | decoded | encoded; what the encoding does not have becomes `?` |

use std::borrow::Cow;
use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use chardetng::{EncodingDetector, Iso2022JpDetection, Utf8Detection};
use encoding_rs::{EncoderResult, Encoding, UTF_8};

use super::error::{CliError, Kind};

/// How this process reads arguments and prints.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Terminal {
    arguments: Arguments,
    output: &'static Encoding,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Arguments {
    AsTheyAre,
    Guessed,
    In(&'static Encoding),
}

static HERE: OnceLock<Terminal> = OnceLock::new();

impl Terminal {
    /// What a name means.
    ///
    /// # Errors
    /// [`Kind::Usage`]: nobody knows the name, or no command line can be in it.
    pub fn named(name: &str) -> Result<Self, CliError> {
        let label = name.trim().to_ascii_lowercase().replace('_', "-");
        let arguments = match label.as_str() {
            "utf-8" | "utf8" | "ascii" | "us-ascii" => Arguments::AsTheyAre,
            "detect" | "" => Arguments::Guessed,
            label => match Encoding::for_label(label.as_bytes()) {
                Some(known) if known == UTF_8 => Arguments::AsTheyAre,
                Some(known) if known.is_ascii_compatible() => Arguments::In(known),
                _ => {
                    let sentence = format!("there is no encoding \"{}\"", name.escape_default());
                    return Err(CliError::new(Kind::Usage, sentence).hint(
                        "names are those of https://encoding.spec.whatwg.org, such as latin1, koi8-r, shift_jis",
                    ));
                }
            },
        };
        let output = if let Arguments::In(known) = arguments { known } else { UTF_8 };
        Ok(Self { arguments, output })
    }

    /// Makes it the one of this process. The first counts.
    pub fn use_here(self) {
        let _ = HERE.set(self);
    }

    fn here() -> Self {
        *HERE.get().unwrap_or(&Self { arguments: Arguments::AsTheyAre, output: UTF_8 })
    }

    /// Arguments as the parser is to see them.
    pub fn decoded(self, arguments: Vec<OsString>) -> Vec<OsString> {
        let encoding = match self.arguments {
            Arguments::AsTheyAre => return arguments,
            Arguments::In(encoding) => encoding,
            Arguments::Guessed => match guess(&arguments) {
                Some(encoding) => encoding,
                None => return arguments,
            },
        };
        let keep_text = self.arguments == Arguments::Guessed;
        let decode = |argument: OsString| {
            if keep_text && argument.to_str().is_some() {
                return argument;
            }
            match encoding.decode_without_bom_handling_and_without_replacement(argument.as_bytes()) {
                Some(text) => OsString::from(text.into_owned()),
                None => argument,
            }
        };
        arguments.into_iter().map(decode).collect()
    }

    fn encoded(self, text: &str) -> Cow<'_, [u8]> {
        if self.output == UTF_8 {
            return Cow::Borrowed(text.as_bytes());
        }
        let mut encoder = self.output.new_encoder();
        let (mut out, mut rest) = (Vec::with_capacity(text.len()), text);
        let mut buffer = [0; 4096];
        loop {
            let (result, read, written) = encoder.encode_from_utf8_without_replacement(rest, &mut buffer, true);
            out.extend_from_slice(&buffer[..written]);
            rest = &rest[read..];
            match result {
                EncoderResult::InputEmpty => return Cow::Owned(out),
                EncoderResult::OutputFull => {}
                EncoderResult::Unmappable(_) => out.push(b'?'),
            }
        }
    }
}

/// The encoding of what is not UTF-8, if there is any and it can be told.
fn guess(arguments: &[OsString]) -> Option<&'static Encoding> {
    let mut detector = EncodingDetector::new(Iso2022JpDetection::Deny);
    let foreign: Vec<&OsString> = arguments.iter().filter(|argument| argument.to_str().is_none()).collect();
    for argument in &foreign {
        detector.feed(argument.as_bytes(), false);
        detector.feed(b" ", false);
    }
    detector.feed(b"", true);
    (!foreign.is_empty()).then(|| detector.guess(None, Utf8Detection::Deny))
}

/// Text as the bytes that this process prints.
pub fn printed(text: &str) -> Cow<'_, [u8]> {
    Terminal::here().encoded(text)
}

/// The path of a local file as its bytes are on the disk, where it was given as an argument.
pub fn local_path(argument: &Path) -> PathBuf {
    let here = Terminal::here();
    match (here.arguments, argument.to_str()) {
        (Arguments::In(encoding), Some(text)) => {
            let (bytes, _, unmappable) = encoding.encode(text);
            if unmappable { argument.to_owned() } else { PathBuf::from(OsString::from_vec(bytes.into_owned())) }
        }
        _ => argument.to_owned(),
    }
}

/// The path of a local file as text: what is no text in this process's encoding is shown with replacements.
pub fn path_text(path: &Path) -> String {
    match Terminal::here().arguments {
        Arguments::In(encoding) => encoding.decode_without_bom_handling(path.as_os_str().as_bytes()).0.into_owned(),
        _ => path.to_string_lossy().into_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(text: &[u8]) -> OsString {
        OsString::from_vec(text.to_vec())
    }

    #[test]
    fn names_of_encodings() {
        for name in ["utf-8", "UTF8", "utf_8", "ascii", "US-ASCII"] {
            assert_eq!(Terminal::named(name).expect(name).arguments, Arguments::AsTheyAre, "{name}");
        }
        for name in ["detect", ""] {
            assert_eq!(Terminal::named(name).expect(name).arguments, Arguments::Guessed, "{name}");
        }
        for name in ["latin1", "cp1252", "KOI8-R", "iso_8859_15", "shift_jis", "gbk"] {
            assert!(matches!(Terminal::named(name).expect(name).arguments, Arguments::In(_)), "{name}");
        }
        for name in ["utf-16", "klingon", "ebcdic"] {
            let error = Terminal::named(name).expect_err(name);
            assert!(error.kind == Kind::Usage && error.to_string().contains(name), "{error}");
        }
    }

    #[test]
    fn arguments_are_decoded_and_output_encoded() {
        let latin = Terminal::named("latin1").expect("known");
        assert_eq!(latin.decoded(vec![bytes(b"\xfcber"), bytes(b"ls")]), ["über", "ls"]);
        assert_eq!(&*latin.encoded("über € ☃\n"), b"\xfcber \x80 ?\n");
        let long = "é".repeat(10_000);
        assert_eq!(latin.encoded(&long).len(), 10_000);
        let utf = Terminal::named("utf-8").expect("known");
        assert_eq!(utf.decoded(vec![bytes(b"\xfcber")]), [bytes(b"\xfcber")], "the parser refuses it");
        assert_eq!(&*utf.encoded("über"), "über".as_bytes());
    }

    #[test]
    fn what_is_not_utf_8_is_guessed() {
        let guessing = Terminal::named("detect").expect("known");
        let (cyrillic, _, _) = encoding_rs::WINDOWS_1251.encode("Документы и фотографии за прошлый год");
        let decoded = guessing.decoded(vec![bytes(b"ls"), bytes("схоже".as_bytes()), bytes(&cyrillic)]);
        assert_eq!(decoded, ["ls", "схоже", "Документы и фотографии за прошлый год"]);
        assert_eq!(guessing.decoded(vec![bytes(b"ls")]), ["ls"]);
    }
}
