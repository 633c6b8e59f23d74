//! Values that must not leak: tokens, codes and pre-authenticated URLs.
//!
//! Three ways out are closed here: a secret prints as stars, it cannot be serialised, and its memory is overwritten
//! when it is dropped, so that it is not found later in a page that was swapped out or handed on. The last is a best
//! effort: what the HTTP and TLS libraries copied into their buffers is theirs.

use std::fmt;

use zeroize::Zeroize as _;

/// A value whose memory can be overwritten.
pub trait Wipe {
    /// Overwrites the value; what is left means nothing.
    fn wipe(&mut self);
}

impl Wipe for String {
    fn wipe(&mut self) {
        self.zeroize();
    }
}

impl Wipe for Vec<u8> {
    fn wipe(&mut self) {
        self.zeroize();
    }
}

/// A value that prints as stars, cannot be serialised and is overwritten when dropped. Reading it takes a visible call.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret<T: Wipe>(T);

impl<T: Wipe> Secret<T> {
    /// Wraps a value.
    pub fn new(value: T) -> Self {
        Self(value)
    }

    /// The value itself. Every caller is a place to look at when hunting a leak.
    pub fn expose(&self) -> &T {
        &self.0
    }
}

impl Secret<String> {
    /// Gives the value up; overwriting it is the caller's business from now on.
    pub fn into_exposed(mut self) -> String {
        std::mem::take(&mut self.0)
    }
}

impl<T: Wipe> Drop for Secret<T> {
    fn drop(&mut self) {
        self.0.wipe();
    }
}

impl<T: Wipe> fmt::Debug for Secret<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl<T: Wipe> fmt::Display for Secret<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl<T: Wipe> From<T> for Secret<T> {
    fn from(value: T) -> Self {
        Self(value)
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::rc::Rc;

    use super::*;

    /// Keeps what it held at its end.
    #[derive(Clone)]
    struct Watched(String, Rc<RefCell<Vec<String>>>);

    impl Wipe for Watched {
        fn wipe(&mut self) {
            self.0.wipe();
            self.1.borrow_mut().push(self.0.clone());
        }
    }

    #[test]
    fn a_secret_prints_as_stars_and_is_wiped_at_its_end() {
        let ends = Rc::new(RefCell::new(Vec::new()));
        let secret = Secret::new(Watched("s3cret".into(), ends.clone()));
        assert_eq!(format!("{secret} {secret:?} {:?}", Some(&secret)), "*** *** Some(***)");
        drop(secret.clone());
        assert_eq!(*ends.borrow(), [""], "the copy");
        assert_eq!(secret.expose().0, "s3cret", "the original lives on");
        drop(secret);
        assert_eq!(*ends.borrow(), ["", ""]);
    }

    #[test]
    fn what_is_given_up_is_whole() {
        assert_eq!(Secret::new("s3cret".to_owned()).into_exposed(), "s3cret");
        let mut bytes = b"s3cret".to_vec();
        bytes.wipe();
        assert!(bytes.is_empty());
    }
}
