//! The expected values of a folder.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::FILE;
use crate::checkpoint::{Dtype, SLICE_BYTES, Source, Tensor, read_header};
use crate::error::{Class, Error, Result};

/// Expected tensors by name.
pub(super) struct Golden {
    source: Arc<dyn Source>,
    tensors: BTreeMap<String, Tensor>,
}

impl Golden {
    pub(super) async fn open(source: Arc<dyn Source>) -> Result<Golden> {
        let tensors = read_header(&*source, FILE).await?;
        Ok(Golden { source, tensors: tensors.into_iter().map(|tensor| (tensor.name.clone(), tensor)).collect() })
    }

    pub(super) async fn bytes(&self, name: &str) -> Result<(Dtype, Vec<u8>)> {
        let missing = || Error::file(Class::Missing, FILE, format_args!("no tensor {}", crate::error::quote(name)));
        let tensor = self.tensors.get(name).ok_or_else(missing)?;
        let mut bytes = Vec::new();
        while (bytes.len() as u64) < tensor.bytes {
            let done = bytes.len() as u64;
            let length = usize::try_from((tensor.bytes - done).min(SLICE_BYTES as u64)).unwrap_or(SLICE_BYTES);
            bytes.extend(self.source.read(&tensor.file, tensor.offset + done, length).await?);
        }
        Ok((tensor.dtype, bytes))
    }

    pub(super) async fn floats(&self, name: &str) -> Result<Vec<f32>> {
        match self.bytes(name).await? {
            (Dtype::F32, bytes) => Ok(bytemuck::pod_collect_to_vec(&bytes)),
            (other, _) => Err(Error::file(Class::Dtype, FILE, format_args!("{name}: expected F32, found {other}"))),
        }
    }

    pub(super) async fn integers(&self, name: &str) -> Result<Vec<i64>> {
        match self.bytes(name).await? {
            (Dtype::I64, bytes) => Ok(bytemuck::pod_collect_to_vec(&bytes)),
            (Dtype::I32, bytes) => {
                Ok(bytemuck::pod_collect_to_vec::<u8, i32>(&bytes).into_iter().map(i64::from).collect())
            }
            (other, _) => {
                Err(Error::file(Class::Dtype, FILE, format_args!("{name}: expected integers, found {other}")))
            }
        }
    }

    pub(super) async fn ids(&self, name: &str) -> Result<Vec<u32>> {
        let ids = self.integers(name).await?.into_iter().map(u32::try_from).collect::<std::result::Result<_, _>>();
        ids.map_err(|_| Error::file(Class::Value, FILE, format_args!("{name}: a negative id")))
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.tensors.contains_key(name)
    }

    /// Names of prompts with their continuations: `NAME.ids` beside `NAME.greedy`.
    pub(super) fn conversations(&self) -> Vec<String> {
        let names = self.tensors.keys().filter_map(|tensor| tensor.strip_suffix(".greedy"));
        names.filter(|name| self.has(&format!("{name}.ids"))).map(str::to_owned).collect()
    }

    pub(super) async fn conversation(&self, name: &str) -> Result<(Vec<u32>, Vec<u32>)> {
        Ok((self.ids(&format!("{name}.ids")).await?, self.ids(&format!("{name}.greedy")).await?))
    }
}
