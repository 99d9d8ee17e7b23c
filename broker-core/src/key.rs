//! Keys instead of references.
//!
//! A [`Key`] names a place in an [`Arena`] together with the generation of what was put there. When
//! the place is taken by something else the generation has moved on, so a stale key finds nothing:
//! never another object.

use core::fmt;
use core::hash::{Hash, Hasher};
use core::marker::PhantomData;

/// The name of one `T` in an [`Arena<T>`]. Copy, eight octets.
pub struct Key<T> {
    index: u32,
    generation: u32,
    of: PhantomData<fn() -> T>,
}

impl<T> Key<T> {
    /// The place in the arena; unique only among what lives at the same time.
    pub const fn index(self) -> u32 {
        self.index
    }

    /// How often the place had been used before.
    pub const fn generation(self) -> u32 {
        self.generation
    }

    /// The key made of its two halves, for those who carry it packed in something else.
    ///
    /// A pair that was never handed out finds nothing.
    pub const fn from_parts(index: u32, generation: u32) -> Self {
        Self { index, generation, of: PhantomData }
    }
}

impl<T> Clone for Key<T> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<T> Copy for Key<T> {}
impl<T> PartialEq for Key<T> {
    fn eq(&self, other: &Self) -> bool {
        self.index == other.index && self.generation == other.generation
    }
}
impl<T> Eq for Key<T> {}
impl<T> Hash for Key<T> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (u64::from(self.generation) << 32 | u64::from(self.index)).hash(state);
    }
}
impl<T> fmt::Debug for Key<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#{}.{}", self.index, self.generation)
    }
}

/// What stands at one place of an arena.
#[derive(Debug)]
enum Place<T> {
    Taken { generation: u32, value: T },
    Free { next_generation: u32, next_free: Option<u32> },
}

/// A slab whose places are named by generation-checked keys.
///
/// Insert, look-up and removal are O(1); a removed place is the next to be used again.
#[derive(Debug)]
pub struct Arena<T> {
    places: Vec<Place<T>>,
    first_free: Option<u32>,
    len: usize,
}

impl<T> Default for Arena<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> Arena<T> {
    /// An arena without places; it grows as things are put in.
    pub const fn new() -> Self {
        Self { places: Vec::new(), first_free: None, len: 0 }
    }

    /// How many things are in it.
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Whether nothing is in it.
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// How many places it has made room for so far; memory is held for these.
    pub const fn places(&self) -> usize {
        self.places.len()
    }

    /// Puts `value` in and names it.
    ///
    /// # Panics
    /// With 2³² things in it; every arena has a limit far below that.
    pub fn insert(&mut self, value: T) -> Key<T> {
        self.len += 1;
        if let Some(index) = self.first_free {
            let place = &mut self.places[index as usize];
            let Place::Free { next_generation: generation, next_free } = *place else {
                unreachable!("a place on the free list is free");
            };
            self.first_free = next_free;
            *place = Place::Taken { generation, value };
            return Key::from_parts(index, generation);
        }
        let index = u32::try_from(self.places.len()).expect("an arena stays below 2^32 places");
        self.places.push(Place::Taken { generation: 0, value });
        Key::from_parts(index, 0)
    }

    /// The thing named by `key`, unless it is gone.
    pub fn get(&self, key: Key<T>) -> Option<&T> {
        match self.places.get(key.index as usize) {
            Some(Place::Taken { generation, value }) if *generation == key.generation => {
                Some(value)
            }
            Some(Place::Taken { .. } | Place::Free { .. }) | None => None,
        }
    }

    /// The thing named by `key`, to be changed, unless it is gone.
    pub fn get_mut(&mut self, key: Key<T>) -> Option<&mut T> {
        match self.places.get_mut(key.index as usize) {
            Some(Place::Taken { generation, value }) if *generation == key.generation => {
                Some(value)
            }
            Some(Place::Taken { .. } | Place::Free { .. }) | None => None,
        }
    }

    /// Takes the thing named by `key` out. Its place may be used again, under another generation.
    pub fn remove(&mut self, key: Key<T>) -> Option<T> {
        self.get(key)?;
        let freed = Place::Free {
            next_generation: key.generation.wrapping_add(1),
            next_free: self.first_free,
        };
        let place = core::mem::replace(&mut self.places[key.index as usize], freed);
        let Place::Taken { value, .. } = place else {
            unreachable!("the look-up above found it");
        };
        self.first_free = Some(key.index);
        self.len -= 1;
        Some(value)
    }

    /// The key of what is at a place, if something is.
    pub fn key_at(&self, index: u32) -> Option<Key<T>> {
        match self.places.get(index as usize)? {
            Place::Taken { generation, .. } => Some(Key::from_parts(index, *generation)),
            Place::Free { .. } => None,
        }
    }

    /// All that is in it, in the order of places.
    pub fn iter(&self) -> impl Iterator<Item = (Key<T>, &T)> {
        self.places.iter().enumerate().filter_map(|(index, place)| match place {
            Place::Taken { generation, value } => {
                let index = u32::try_from(index).expect("an arena stays below 2^32 places");
                Some((Key::from_parts(index, *generation), value))
            }
            Place::Free { .. } => None,
        })
    }

    /// The same, to be changed.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = (Key<T>, &mut T)> {
        self.places.iter_mut().enumerate().filter_map(|(index, place)| match place {
            Place::Taken { generation, value } => {
                let index = u32::try_from(index).expect("an arena stays below 2^32 places");
                Some((Key::from_parts(index, *generation), value))
            }
            Place::Free { .. } => None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stale_key_finds_nothing_though_its_place_is_taken_again() {
        let mut arena = Arena::new();
        let old = arena.insert("old");
        assert_eq!(arena.remove(old), Some("old"));
        let new = arena.insert("new");
        assert_eq!(new.index(), old.index());
        assert_eq!(arena.get(old), None);
        assert_eq!(arena.remove(old), None);
        assert_eq!(arena.get(new), Some(&"new"));
    }

    #[test]
    fn places_are_used_again_before_new_ones_are_made() {
        let mut arena = Arena::new();
        let keys: Vec<_> = (0..10).map(|n| arena.insert(n)).collect();
        for key in &keys {
            arena.remove(*key);
        }
        for n in 0..10 {
            arena.insert(n);
        }
        assert_eq!((arena.len(), arena.places()), (10, 10));
    }

    #[test]
    fn iteration_shows_what_is_left_in_the_order_of_places() {
        let mut arena = Arena::new();
        let keys: Vec<_> = (0..4).map(|n| arena.insert(n)).collect();
        arena.remove(keys[1]);
        assert_eq!(arena.iter().map(|(_, n)| *n).collect::<Vec<_>>(), [0, 2, 3]);
    }
}
