//! Named tensors → slots: read in slices, repacked to panels and uploaded. Nobody holds a whole file.
//!
//! In: an open checkpoint and an executor. Out: [`Weights`]. Weights keep their stored width.

use lyn_shaders::encodings::{self, PANEL};
use lyn_shaders::experts::{ExpertPanels, ExpertShard};
use lyn_shaders::{Encoding, Panels, Slot};

use crate::checkpoint::{Checkpoint, Dtype, Tensor};
use crate::error::{Code, Error, Result};
use crate::executor::Executor;
use crate::model::Dims;
use crate::model::weights::{
    AttentionWeights, DenseWeights, ExpertsWeights, FeedForward, IndexerWeights, LayerWeights, LinearShard,
    LinearWeights, PredictionWeights, TableShard, UpWeights, Weights,
};
use crate::record::Part;

/// Bytes read and uploaded at a time.
const SLICE_BYTES: u64 = 8 << 20;
/// Bytes after which the device is waited for, so that uploads do not pile up in its staging memory.
const SETTLE_BYTES: u64 = 256 << 20;

/// Loads the weights of a checkpoint into an executor, in tensors of at most `shard_bytes` where they can be split.
/// `progress` hears of bytes done; returning false stops.
///
/// # Errors
/// Those of the files; `out_of_memory`, `device_lost`; `cancelled`.
pub(crate) async fn load(
    checkpoint: &Checkpoint,
    dims: &Dims,
    executor: &mut Executor,
    shard_bytes: u64,
    prediction: bool,
    progress: &mut dyn FnMut(u64) -> bool,
) -> Result<Weights> {
    let none = executor.allocate("no scales", 4).await?;
    let mut loader =
        Loader { checkpoint, dims, executor, shard_bytes, progress, none, done_bytes: 0, unsettled_bytes: 0 };
    let embedding = loader.table("model.embed_tokens").await?;
    let mut layers = Vec::new();
    for layer in 0..dims.num_hidden_layers {
        layers.push(loader.layer(layer).await?);
    }
    let norm = loader.vector("model.norm.weight").await?;
    let head = if checkpoint.config.tie_word_embeddings { "model.embed_tokens" } else { "lm_head" };
    let head = loader.matrix(head.to_owned()).await?;
    let mut modules = Vec::new();
    for module in 0..if prediction { checkpoint.prediction_layers } else { 0 } {
        modules.push(loader.prediction(dims.num_hidden_layers + module).await?);
    }
    loader.settle().await?;
    Ok(Weights { embedding, layers, norm, head, prediction: modules })
}

struct Loader<'a> {
    checkpoint: &'a Checkpoint,
    dims: &'a Dims,
    executor: &'a mut Executor,
    shard_bytes: u64,
    progress: &'a mut dyn FnMut(u64) -> bool,
    /// What encodings without scales bind in their place.
    none: Slot,
    done_bytes: u64,
    unsettled_bytes: u64,
}

/// Consecutive matrices of one encoding, one below the other.
struct Run<'a> {
    encoding: &'static Encoding,
    columns: u32,
    /// Name, tensor, first row.
    tensors: Vec<(&'a str, &'a Tensor, u32)>,
    rows: u32,
}

impl<'a> Loader<'a> {
    /// The weight of a layer; it borrows the checkpoint, not the loader.
    fn tensor(&self, name: &str) -> Result<&'a Tensor> {
        self.checkpoint.tensor(&format!("{name}.weight"))
    }

    async fn layer(&mut self, layer: u32) -> Result<LayerWeights> {
        let name = |tensor: &str| format!("model.layers.{layer}.{tensor}");
        let feed_forward = match &self.checkpoint.config.layers.get(layer as usize) {
            Some(kind) if kind.moe => FeedForward::Experts(Box::new(self.experts(&name("mlp")).await?)),
            _ => FeedForward::Dense(self.dense(&name("mlp")).await?),
        };
        Ok(LayerWeights {
            input_norm: self.vector(&name("input_layernorm.weight")).await?,
            post_attention_norm: self.vector(&name("post_attention_layernorm.weight")).await?,
            attention: self.attention(&name("self_attn"), self.dims.owns_indexer(layer)).await?,
            feed_forward,
        })
    }

    async fn attention(&mut self, prefix: &str, indexer: bool) -> Result<AttentionWeights> {
        let name = |tensor: &str| format!("{prefix}.{tensor}");
        let q = if self.dims.q_lora_rank.is_some() { "q_a_proj" } else { "q_proj" };
        let mut down = vec![name(q), name("kv_a_proj_with_mqa")];
        let mut up = vec![name("q_b_proj")];
        if indexer {
            down.extend([name("indexer.wk"), name("indexer.weights_proj")]);
            up.push(name("indexer.wq_b"));
        }
        let (down, down_parts) = self.matrices(&down).await?;
        let (up, index_query) = match self.dims.q_lora_rank {
            Some(_) => {
                let norm = self.vector(&name("q_a_layernorm.weight")).await?;
                let (matrix, parts) = self.matrices(&up).await?;
                (Some(UpWeights { norm, matrix, query: parts[0] }), parts.get(1).copied())
            }
            None => (None, None),
        };
        let indexer = match (index_query, down_parts.as_slice()) {
            (Some(query), &[_, _, key, head_weights]) => Some(IndexerWeights {
                query,
                key,
                head_weights,
                key_norm: self.vector(&name("indexer.k_norm.weight")).await?,
                key_norm_bias: self.vector(&name("indexer.k_norm.bias")).await?,
            }),
            _ => None,
        };
        let (key_up, value_up) = self.key_value_up(&name("kv_b_proj")).await?;
        let kv_norm = self.vector(&name("kv_a_layernorm.weight")).await?;
        let output = self.matrix(name("o_proj")).await?;
        let (query, kv) = (down_parts[0], down_parts[1]);
        Ok(AttentionWeights { down, query, kv, up, kv_norm, indexer, key_up, value_up, output })
    }

    /// `kv_b_proj` holds for each head key rows, then value rows. The absorbed form contracts the first over rows, so
    /// that they stay row-major, and the second over columns, as any linear layer.
    async fn key_value_up(&mut self, name: &str) -> Result<(TableShard, LinearWeights)> {
        let Dims { heads, qk_nope_head_dim: keys, v_head_dim: values, kv_lora_rank: columns, .. } = *self.dims;
        let tensor = self.tensor(name)?;
        let encoding = encoding_of(tensor)?;
        let row_bytes = encoding.bytes(u64::from(columns));
        let scales = self.scales(name, encoding).await?;
        let panels = Panels { encoding, groups: heads, rows: values, columns, row_scales: true };
        let key_words = encoding.words(u64::from(heads * keys) * u64::from(columns));
        let key_slot = self.executor.allocate(name, key_words).await?;
        let value_slot = self.executor.allocate(name, panels.words()).await?;
        for head in 0..heads {
            let first_row = head * (keys + values);
            let bytes =
                self.read(tensor, u64::from(first_row) * row_bytes, u64::from(keys + values) * row_bytes).await?;
            let (key_bytes, value_bytes) = bytes.split_at(usize_of(u64::from(keys) * row_bytes)?);
            let words: Vec<u32> = bytemuck::pod_collect_to_vec(key_bytes);
            self.write(key_slot, u64::from(head * keys) * row_bytes / 4, &words);
            let group = Panels { groups: 1, ..panels };
            self.write(value_slot, u64::from(head) * group.words(), &repack(value_bytes, &group));
        }
        let key_up = TableShard {
            weight: key_slot,
            scales: self.upload_scales(name, encoding, &scales).await?,
            encoding,
            first_row: 0,
            rows: heads * keys,
        };
        let value_scales = panels.lay_scales(&scales, |head| head * (keys + values) + keys);
        let shard = LinearShard {
            weight: value_slot,
            scales: self.upload_scales(name, encoding, &value_scales).await?,
            panels,
            offset: 0,
        };
        Ok((key_up, LinearWeights { shards: vec![shard], width: heads * values }))
    }

    async fn dense(&mut self, prefix: &str) -> Result<DenseWeights> {
        let name = |tensor: &str| format!("{prefix}.{tensor}");
        let (gate_up, parts) = self.matrices(&[name("gate_proj"), name("up_proj")]).await?;
        let down = self.matrix(name("down_proj")).await?;
        Ok(DenseWeights { gate_up, up: parts[1], down })
    }

    async fn experts(&mut self, prefix: &str) -> Result<ExpertsWeights> {
        let Some(router) = self.checkpoint.config.router else {
            return Err(Error::new(Code::Internal, format!("{prefix}: a layer of experts without a router")));
        };
        let expert = |e: u32, tensor: &str| format!("{prefix}.experts.{e}.{tensor}");
        let shared = format!("{prefix}.shared_experts");
        let encoding = encoding_of(self.tensor(&expert(0, "gate_proj"))?)?;
        for e in 0..router.n_routed_experts {
            for tensor in ["gate_proj", "up_proj", "down_proj"] {
                let found = self.tensor(&expert(e, tensor))?;
                if encoding_of(found)? != encoding {
                    let message = format!("{}: experts of one layer in different number formats", found.name);
                    return Err(Error::new(Code::BadCheckpoint, message));
                }
            }
        }
        let has_shared = router.n_shared_experts > 0;
        let beside = has_shared && encoding_of(self.tensor(&format!("{shared}.gate_proj"))?)? == encoding;
        let panels = ExpertPanels {
            encoding,
            hidden_size: self.dims.hidden_size,
            width: router.moe_intermediate_size,
            shared_width: if beside { router.n_shared_experts * router.moe_intermediate_size } else { 0 },
            total_experts: router.n_routed_experts,
        };
        let matrices = |e: u32, kind: Kind| {
            let prefix = if e == router.n_routed_experts { shared.clone() } else { format!("{prefix}.experts.{e}") };
            match kind {
                Kind::GateUp => vec![format!("{prefix}.gate_proj"), format!("{prefix}.up_proj")],
                Kind::Down => vec![format!("{prefix}.down_proj")],
            }
        };
        let gate_up = self.expert_shards(&panels, Kind::GateUp, &matrices).await?;
        let down = self.expert_shards(&panels, Kind::Down, &matrices).await?;
        let router_matrix = self.matrix(format!("{prefix}.gate")).await?;
        let bias = if router.has_bias {
            Some(self.vector(&format!("{prefix}.gate.e_score_correction_bias")).await?)
        } else {
            None
        };
        let shared_apart = if has_shared && !beside { Some(self.dense(&shared).await?) } else { None };
        Ok(ExpertsWeights { router: router_matrix, bias, panels, gate_up, down, shared_apart })
    }

    /// Whole experts, as many to a shard as a binding holds; the shared one follows the last routed one, or stands alone
    /// in a shard where there is no room beside them.
    async fn expert_shards(
        &mut self,
        layout: &ExpertPanels,
        kind: Kind,
        matrices: &dyn Fn(u32, Kind) -> Vec<String>,
    ) -> Result<Vec<ExpertShard>> {
        let (words, limit) = (kind.words(layout, false), self.shard_bytes / 4);
        let shared_words = if layout.shared_width > 0 { kind.words(layout, true) } else { 0 };
        let fit = u32::try_from(limit / words).unwrap_or(u32::MAX).max(1);
        let mut plan: Vec<(u32, u32, bool)> = (0..layout.total_experts)
            .step_by(fit as usize)
            .map(|first| (first, fit.min(layout.total_experts - first), false))
            .collect();
        match plan.last_mut() {
            Some(last) if shared_words == 0 || u64::from(last.1) * words + shared_words <= limit => {
                last.2 = shared_words > 0
            }
            _ => plan.push((layout.total_experts, 0, true)),
        }
        let mut shards = Vec::new();
        for (first_expert, experts, has_shared) in plan {
            let total = u64::from(experts) * words + if has_shared { shared_words } else { 0 };
            let weight = self.executor.allocate("experts", total).await?;
            let mut scales = Vec::new();
            let shared = has_shared.then_some(layout.total_experts);
            for (place, expert) in (0..).zip((first_expert..first_expert + experts).chain(shared)) {
                let mut word = place * words;
                for name in matrices(expert, kind) {
                    let panels = kind.panels(layout, expert == layout.total_experts);
                    let table = self.scales(&name, layout.encoding).await?;
                    self.upload_panels(&name, &panels, weight, word).await?;
                    word += panels.words();
                    scales.extend(panels.lay_scales(&table, |_| 0));
                }
            }
            let scales = self.upload_scales("expert scales", layout.encoding, &scales).await?;
            shards.push(ExpertShard { weight, scales, first_expert, experts, has_shared });
        }
        Ok(shards)
    }

    async fn prediction(&mut self, layer: u32) -> Result<PredictionWeights> {
        let name = |tensor: &str| format!("model.layers.{layer}.{tensor}");
        Ok(PredictionWeights {
            embedding_norm: self.vector(&name("enorm.weight")).await?,
            hidden_norm: self.vector(&name("hnorm.weight")).await?,
            projection: self.matrix(name("eh_proj")).await?,
            head_norm: self.vector(&name("shared_head.norm.weight")).await?,
            layer: self.layer(layer).await?,
        })
    }

    /// A short tensor as f32.
    async fn vector(&mut self, name: &str) -> Result<Slot> {
        let values = self.checkpoint.read_f32(name).await?;
        let slot = self.executor.allocate(name, values.len() as u64).await?;
        let words: &[u32] = bytemuck::cast_slice(&values);
        self.write(slot, 0, words);
        self.advance(values.len() as u64 * 4).await?;
        Ok(slot)
    }

    /// A row-major table, by shards of rows.
    async fn table(&mut self, name: &str) -> Result<Vec<TableShard>> {
        let tensor = self.tensor(name)?;
        let (rows, columns, encoding) = (rows_of(tensor)?, columns_of(tensor)?, encoding_of(tensor)?);
        let scales = self.scales(name, encoding).await?;
        let scales = self.upload_scales(name, encoding, &scales).await?;
        let row_bytes = encoding.bytes(u64::from(columns));
        let group_rows = u64::from(encoding.group.rows);
        // Scales are found by the row's place in the whole table, so that a shard starts with a group of rows.
        let fit = (self.shard_bytes / row_bytes / group_rows).max(1) * group_rows;
        let fit = u32::try_from(fit).unwrap_or(u32::MAX).min(rows);
        let mut shards = Vec::new();
        for first_row in (0..rows).step_by(fit as usize) {
            let count = fit.min(rows - first_row);
            let weight = self.executor.allocate(name, encoding.words(u64::from(count) * u64::from(columns))).await?;
            let slice = u32::try_from((SLICE_BYTES / row_bytes).max(1)).unwrap_or(u32::MAX);
            for row in (0..count).step_by(slice as usize) {
                let taken = slice.min(count - row);
                let bytes =
                    self.read(tensor, u64::from(first_row + row) * row_bytes, u64::from(taken) * row_bytes).await?;
                let words: Vec<u32> = bytemuck::pod_collect_to_vec(&bytes);
                self.write(weight, u64::from(row) * row_bytes / 4, &words);
            }
            shards.push(TableShard { weight, scales, encoding, first_row, rows: count });
        }
        Ok(shards)
    }

    /// A matrix, as panels.
    async fn matrix(&mut self, name: String) -> Result<LinearWeights> {
        self.matrices(&[name]).await.map(|(weights, _)| weights)
    }

    /// Matrices over the same input, one below the other, as panels; and the columns of each in the output.
    async fn matrices(&mut self, names: &[String]) -> Result<(LinearWeights, Vec<Part>)> {
        let mut runs: Vec<Run<'_>> = Vec::new();
        let mut parts = Vec::new();
        let mut width = 0u32;
        for name in names {
            let tensor = self.tensor(name)?;
            let (encoding, columns, rows) = (encoding_of(tensor)?, columns_of(tensor)?, rows_of(tensor)?);
            width = width.next_multiple_of(PANEL);
            parts.push(Part { first: width, width: rows });
            if runs.last().is_none_or(|run| run.encoding != encoding) {
                runs.push(Run { encoding, columns, tensors: Vec::new(), rows: 0 });
            }
            if let Some(run) = runs.last_mut() {
                let first = run.rows.next_multiple_of(PANEL);
                run.tensors.push((name, tensor, first));
                run.rows = first + rows;
            }
            width += rows;
        }
        let mut shards = Vec::new();
        let mut offset = 0;
        for run in &runs {
            self.run(run, offset, &mut shards).await?;
            offset = (offset + run.rows).next_multiple_of(PANEL);
        }
        // Later kernels read rows of several matrices in steps of four.
        let width = if names.len() > 1 { width.next_multiple_of(4) } else { width };
        Ok((LinearWeights { shards, width }, parts))
    }

    /// One run of matrices, split where it exceeds the largest binding.
    async fn run(&mut self, run: &Run<'_>, offset: u32, shards: &mut Vec<LinearShard>) -> Result<()> {
        let whole =
            Panels { encoding: run.encoding, groups: 1, rows: run.rows, columns: run.columns, row_scales: false };
        let panel_words = whole.panel_words();
        let mut scales = Vec::new();
        for &(name, tensor, _) in &run.tensors {
            let table = self.scales(name, run.encoding).await?;
            scales.extend(Panels { rows: rows_of(tensor)?, ..whole }.lay_scales(&table, |_| 0));
        }
        let fit = u32::try_from(self.shard_bytes / 4 / panel_words).unwrap_or(u32::MAX).max(1);
        for first_panel in (0..whole.panels()).step_by(fit as usize) {
            let rows = (fit.saturating_mul(PANEL)).min(run.rows - first_panel * PANEL);
            let panels = Panels { rows, ..whole };
            let weight = self.executor.allocate(run.tensors[0].0, panels.words()).await?;
            for &(_, tensor, first_row) in &run.tensors {
                // The part of this tensor that lies in this shard, by panels.
                let tensor_panels = (first_row / PANEL)..(first_row / PANEL + rows_of(tensor)?.div_ceil(PANEL));
                let start = tensor_panels.start.max(first_panel);
                let end = tensor_panels.end.min(first_panel + panels.panels());
                let slice = u32::try_from((SLICE_BYTES / (panel_words * 4)).max(1)).unwrap_or(u32::MAX);
                for panel in (start..end).step_by(slice as usize) {
                    let local = (panel - tensor_panels.start) * PANEL;
                    let rows = (slice.min(end - panel) * PANEL).min(rows_of(tensor)? - local);
                    let row_bytes = run.encoding.bytes(u64::from(run.columns));
                    let bytes = self.read(tensor, u64::from(local) * row_bytes, u64::from(rows) * row_bytes).await?;
                    let words = repack(&bytes, &Panels { rows, ..whole });
                    self.write(weight, u64::from(panel - first_panel) * panel_words, &words);
                }
            }
            let scales =
                &scales[usize_of(u64::from(first_panel) * whole.panel_scales())?..][..usize_of(panels.scales())?];
            let scales = self.upload_scales("scales", run.encoding, scales).await?;
            shards.push(LinearShard { weight, scales, panels, offset: offset + first_panel * PANEL });
        }
        Ok(())
    }

    /// One whole matrix into panels from `word` of a slot.
    async fn upload_panels(&mut self, name: &str, panels: &Panels, slot: Slot, word: u64) -> Result<()> {
        let tensor = self.tensor(name)?;
        let panel_words = panels.panel_words();
        let row_bytes = panels.encoding.bytes(u64::from(panels.columns));
        let slice = u32::try_from((SLICE_BYTES / (panel_words * 4)).max(1)).unwrap_or(u32::MAX);
        for panel in (0..panels.panels()).step_by(slice as usize) {
            let first = panel * PANEL;
            let rows = slice.saturating_mul(PANEL).min(panels.rows - first);
            let bytes = self.read(tensor, u64::from(first) * row_bytes, u64::from(rows) * row_bytes).await?;
            let words = repack(&bytes, &Panels { rows, ..*panels });
            self.write(slot, word + u64::from(panel) * panel_words, &words);
        }
        Ok(())
    }

    /// The scales of `name`'s weight, by groups: `[rows / group rows, columns / group columns]`; none for encodings without.
    async fn scales(&mut self, name: &str, encoding: &Encoding) -> Result<Vec<f32>> {
        if !encoding.is_scaled() {
            return Ok(Vec::new());
        }
        self.checkpoint.read_f32(&format!("{name}.weight_scale_inv")).await
    }

    async fn upload_scales(&mut self, name: &str, encoding: &Encoding, scales: &[f32]) -> Result<Slot> {
        let words = (encoding.scales.encode)(scales);
        if words.is_empty() {
            return Ok(self.none);
        }
        let slot = self.executor.allocate(name, words.len() as u64).await?;
        self.write(slot, 0, &words);
        Ok(slot)
    }

    async fn read(&mut self, tensor: &Tensor, offset: u64, bytes: u64) -> Result<Vec<u8>> {
        let read = self.checkpoint.read(tensor, offset, usize_of(bytes)?).await?;
        self.advance(bytes).await?;
        Ok(read)
    }

    fn write(&mut self, slot: Slot, word: u64, words: &[u32]) {
        self.executor.write(slot, word, words);
    }

    async fn advance(&mut self, bytes: u64) -> Result<()> {
        self.done_bytes += bytes;
        self.unsettled_bytes += bytes;
        if !(self.progress)(self.done_bytes) {
            return Err(Error::new(Code::Cancelled, "loading was stopped"));
        }
        if self.unsettled_bytes >= SETTLE_BYTES {
            self.settle().await?;
        }
        Ok(())
    }

    /// Waits until everything written so far is on the device.
    async fn settle(&mut self) -> Result<()> {
        self.unsettled_bytes = 0;
        self.executor.read(self.none, 0, 1)?.await.map(drop)
    }
}

/// Which of an expert's matrices a shard holds.
#[derive(Clone, Copy)]
enum Kind {
    GateUp,
    Down,
}

impl Kind {
    fn panels(self, layout: &ExpertPanels, shared: bool) -> Panels {
        match self {
            Kind::GateUp => layout.gate_up_panels(shared),
            Kind::Down => layout.down_panels(shared),
        }
    }

    fn words(self, layout: &ExpertPanels, shared: bool) -> u64 {
        match self {
            Kind::GateUp => layout.gate_up_words(shared),
            Kind::Down => layout.down_words(shared),
        }
    }
}

fn encoding_of(tensor: &Tensor) -> Result<&'static Encoding> {
    match tensor.dtype {
        Dtype::F32 => Ok(&encodings::F32),
        Dtype::F16 => Ok(&encodings::F16),
        Dtype::BF16 => Ok(&encodings::BF16),
        Dtype::F8_E4M3 => Ok(&encodings::FP8),
        other => Err(Error::new(Code::Internal, format!("{}: dtype {other} passed the check of dtypes", tensor.name))),
    }
}

fn rows_of(tensor: &Tensor) -> Result<u32> {
    dimension(tensor, 0)
}

fn columns_of(tensor: &Tensor) -> Result<u32> {
    dimension(tensor, 1)
}

fn dimension(tensor: &Tensor, axis: usize) -> Result<u32> {
    let found = tensor.shape.get(axis).and_then(|&size| u32::try_from(size).ok());
    found.ok_or_else(|| Error::new(Code::Internal, format!("{}: shape passed the check of shapes", tensor.name)))
}

fn usize_of(value: u64) -> Result<usize> {
    usize::try_from(value)
        .map_err(|_| Error::new(Code::OutOfMemory, format!("{value} elements exceed this machine's memory")))
}

/// Stored rows → panels: pieces of 32 rows side by side, edges padded with zeros.
#[must_use]
fn repack(stored: &[u8], panels: &Panels) -> Vec<u32> {
    let row_bytes = stored.len() / panels.rows as usize;
    let mut packed = vec![[0u32; 4]; panels.panels() as usize * panels.pieces() as usize * PANEL as usize];
    for (i, piece) in packed.iter_mut().enumerate() {
        let (lane, rest) = (i % PANEL as usize, i / PANEL as usize);
        let (place, panel) = (rest % panels.pieces() as usize, rest / panels.pieces() as usize);
        let row = panel * PANEL as usize + lane;
        if row < panels.rows as usize {
            let bytes = &stored[row * row_bytes..][..row_bytes];
            let bytes = &bytes[place * 16..row_bytes.min(place * 16 + 16)];
            bytemuck::bytes_of_mut(piece)[..bytes.len()].copy_from_slice(bytes);
        }
    }
    bytemuck::cast_vec(packed)
}
