//! What many hold and few change: a clone is the same content, and whoever changes one makes it its own first.

use std::ops::{Deref, DerefMut};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// A value that is cloned often and changed seldom.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Common<T>(Arc<T>);

impl<T> From<T> for Common<T> {
    fn from(value: T) -> Self {
        Self(Arc::new(value))
    }
}

impl<T> Deref for Common<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T: Clone> DerefMut for Common<T> {
    fn deref_mut(&mut self) -> &mut T {
        Arc::make_mut(&mut self.0)
    }
}

impl<T: FromIterator<I>, I> FromIterator<I> for Common<T> {
    fn from_iter<A: IntoIterator<Item = I>>(items: A) -> Self {
        T::from_iter(items).into()
    }
}

#[allow(
    clippy::into_iter_without_iter,
    reason = "what it holds has one, which is found through it"
)]
impl<'a, T> IntoIterator for &'a Common<T>
where
    &'a T: IntoIterator,
{
    type Item = <&'a T as IntoIterator>::Item;
    type IntoIter = <&'a T as IntoIterator>::IntoIter;

    fn into_iter(self) -> Self::IntoIter {
        (&*self.0).into_iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_one_changes_the_others_do_not_see() {
        let first = Common::from(vec![1]);
        let mut second = first.clone();
        second.push(2);
        assert_eq!((first.len(), second.len()), (1, 2));
        assert_eq!(
            serde_json::to_value(&second).ok(),
            Some(serde_json::json!([1, 2]))
        );
    }
}
