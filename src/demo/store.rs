//! Objects in memory: bounded, and gone when the process ends.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use bytes::Bytes;
use http::{HeaderName, HeaderValue};

use super::place::{BucketName, ObjectKey};

/// All buckets.
#[derive(Debug, Default)]
pub(super) struct Store(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    buckets: BTreeMap<BucketName, BTreeMap<ObjectKey, Arc<Object>>>,
    objects: usize,
    bytes: usize,
}

/// An object and what was said of it.
#[derive(Debug)]
pub(super) struct Object {
    pub(super) content: Bytes,
    pub(super) content_type: HeaderValue,
    /// Its `x-amz-meta-*` headers.
    pub(super) metadata: Vec<(HeaderName, HeaderValue)>,
    /// The content's SHA-256 in quotes. It is longer than an MD5 on purpose, or clients would compare it with theirs.
    pub(super) etag: String,
    pub(super) modified: SystemTime,
}

/// A bucket, as the list of buckets shows it.
#[derive(Debug, Eq, PartialEq)]
pub(super) struct Summary {
    pub(super) name: String,
    pub(super) objects: usize,
    pub(super) bytes: usize,
}

/// There is no room.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("this store holds {} MiB in {MAX_OBJECTS} objects and {MAX_BUCKETS} buckets, and no more", MAX_BYTES >> 20)]
pub(super) struct Full;

/// A bucket with objects in it stays.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("the bucket is not empty")]
pub(super) struct NotEmpty;

impl Store {
    /// Makes a bucket; one that is there already is fine.
    pub(super) fn create(&self, bucket: &BucketName) -> Result<(), Full> {
        let mut state = self.state();
        if !state.buckets.contains_key(bucket) {
            if state.buckets.len() == MAX_BUCKETS {
                return Err(Full);
            }
            state.buckets.insert(bucket.clone(), BTreeMap::new());
        }
        Ok(())
    }

    /// Keeps an object in place of the one there was, and makes its bucket where it is missing.
    pub(super) fn put(&self, bucket: &BucketName, key: ObjectKey, object: Object) -> Result<(), Full> {
        self.create(bucket)?;
        let mut state = self.state();
        let before = state.buckets.get(bucket).and_then(|objects| objects.get(&key));
        let (freed, replaced) = before.map_or((0, 0), |object| (size(&key, object), 1));
        let bytes = state.bytes - freed + size(&key, &object);
        let objects = state.objects - replaced + 1;
        if bytes > MAX_BYTES || objects > MAX_OBJECTS {
            return Err(Full);
        }
        (state.bytes, state.objects) = (bytes, objects);
        state.buckets.entry(bucket.clone()).or_default().insert(key, Arc::new(object));
        Ok(())
    }

    pub(super) fn get(&self, bucket: &BucketName, key: &ObjectKey) -> Option<Arc<Object>> {
        self.state().buckets.get(bucket)?.get(key).cloned()
    }

    pub(super) fn delete(&self, bucket: &BucketName, key: &ObjectKey) {
        let mut state = self.state();
        if let Some(object) = state.buckets.get_mut(bucket).and_then(|objects| objects.remove(key)) {
            state.bytes -= size(key, &object);
            state.objects -= 1;
        }
    }

    pub(super) fn remove(&self, bucket: &BucketName) -> Result<(), NotEmpty> {
        let mut state = self.state();
        if state.buckets.get(bucket).is_some_and(|objects| !objects.is_empty()) {
            return Err(NotEmpty);
        }
        state.buckets.remove(bucket);
        Ok(())
    }

    /// The objects of a bucket whose keys start with `prefix` and come after `after`; `None` without such a bucket.
    pub(super) fn list(&self, bucket: &BucketName, prefix: &str, after: &str) -> Option<Vec<(ObjectKey, Arc<Object>)>> {
        let state = self.state();
        let objects = state.buckets.get(bucket)?.iter();
        let listed = objects.filter(|(key, _)| key.as_str().starts_with(prefix) && key.as_str() > after);
        Some(listed.map(|(key, object)| (key.clone(), Arc::clone(object))).collect())
    }

    pub(super) fn buckets(&self) -> Vec<Summary> {
        let summary = |(name, objects): (&BucketName, &BTreeMap<_, Arc<Object>>)| Summary {
            name: name.to_string(),
            objects: objects.len(),
            bytes: objects.values().map(|object| object.content.len()).sum(),
        };
        self.state().buckets.iter().map(summary).collect()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What an object costs: its content and all that is kept with it.
fn size(key: &ObjectKey, object: &Object) -> usize {
    let metadata: usize = object.metadata.iter().map(|(name, value)| name.as_str().len() + value.len()).sum();
    key.as_str().len() + object.content.len() + object.content_type.len() + metadata
}

const MAX_BYTES: usize = 64 << 20;
const MAX_OBJECTS: usize = 10_000;
const MAX_BUCKETS: usize = 100;

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use super::*;

    fn object(bytes: usize) -> Object {
        Object {
            content: vec![0; bytes].into(),
            content_type: HeaderValue::from_static(""),
            metadata: Vec::new(),
            etag: String::new(),
            modified: UNIX_EPOCH,
        }
    }

    #[test]
    fn it_ends_at_its_bounds_and_gives_room_back() {
        let (store, bucket): (Store, BucketName) = (Store::default(), "notes".parse().unwrap());
        let key = |n: usize| format!("{n}").parse::<ObjectKey>().unwrap();
        for n in 0..3 {
            store.put(&bucket, key(n), object(16 << 20)).unwrap();
        }
        assert_eq!(store.put(&bucket, key(3), object(16 << 20)), Err(Full)); // the keys have their price
        store.put(&bucket, key(0), object(1)).unwrap();
        store.put(&bucket, key(3), object(16 << 20)).unwrap();
        store.delete(&bucket, &key(1));
        store.delete(&bucket, &key(1));
        store.put(&bucket, key(4), object(16 << 20)).unwrap();
        assert_eq!(store.buckets()[0].objects, 4);
        assert_eq!(store.remove(&bucket), Err(NotEmpty));
    }

    #[test]
    fn buckets_are_bounded() {
        let store = Store::default();
        for n in 0..MAX_BUCKETS {
            store.create(&format!("bucket-{n}").parse().unwrap()).unwrap();
        }
        assert_eq!(store.create(&"one-more".parse().unwrap()), Err(Full));
        store.create(&"bucket-0".parse().unwrap()).unwrap();
        store.remove(&"bucket-0".parse().unwrap()).unwrap();
        store.create(&"one-more".parse().unwrap()).unwrap();
    }
}
