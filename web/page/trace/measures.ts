// Numbers about selections, and the shade that each token gets. Shades are 0 (not read) to SHADES (most).

import type { Selection } from "lyn";

export const SHADES = 8;

/** Rank of each selected token, 0 the best score; equal scores are ordered by position, as the kernel does. */
export function ranks({ scores }: Pick<Selection, "scores">): Uint32Array {
  const order = Uint32Array.from(scores, (_, place) => place);
  order.sort((a, b) => (scores[b] ?? 0) - (scores[a] ?? 0) || a - b);
  const ranks = new Uint32Array(order.length);
  order.forEach((place, rank) => {
    ranks[place] = rank;
  });
  return ranks;
}

/** Shades of one row's visible tokens by rank: an eighth of the selected tokens for each shade. The indexer's scores are
 * only ever compared with each other, never used as weights, so their order is all they say. */
export function selectionShades(selection: Selection, shades = new Uint8Array(selection.contextLength)): Uint8Array {
  const { indices, scores } = selection;
  // Without scores everything was read alike: one shade of the middle.
  if (scores.length === 0) indices.forEach((index) => (shades[index] = SHADES / 2));
  ranks(selection).forEach((rank, place) => {
    shades[indices[place] ?? 0] = SHADES - Math.floor((rank * SHADES) / indices.length);
  });
  return shades;
}

/** Powers of ten between the largest dense weight and the smallest that still gets a shade. */
export const DENSE_DECADES = 3;

/** Shades of dense weights on a logarithmic scale below the row's largest: most weights are tiny, and a linear scale
 * would show the largest alone. */
export function denseShades(weights: Float32Array): Uint8Array {
  const shades = new Uint8Array(weights.length);
  const most = weights.reduce((a, b) => Math.max(a, b), 0);
  if (most <= 0) return shades;
  weights.forEach((weight, position) => {
    const decades = Math.log10(most / weight);
    if (decades < DENSE_DECADES) shades[position] = SHADES - Math.floor((decades * SHADES) / DENSE_DECADES);
  });
  return shades;
}

/** All layers of one token as one selection: what any layer chose, scored by how many did; dense weights are averaged. */
export function allLayers(row: Selection[]): Selection | undefined {
  const first = row[0];
  if (!first) return undefined;
  const counts = new Float32Array(first.contextLength);
  for (const { indices } of row) {
    for (const index of indices) if (index < counts.length) counts[index] = (counts[index] ?? 0) + 1;
  }
  const indices = Uint32Array.from(counts.keys()).filter((position) => (counts[position] ?? 0) > 0);
  const weighed = row.flatMap(({ dense }) => (dense ? [dense] : []));
  const dense = new Float32Array(weighed.length > 0 ? counts.length : 0);
  for (const weights of weighed) {
    for (let i = 0; i < dense.length; i += 1) dense[i] = (dense[i] ?? 0) + (weights[i] ?? 0) / weighed.length;
  }
  return {
    ...first,
    indices,
    scores: Float32Array.from(indices, (position) => counts[position] ?? 0),
    dense: weighed.length > 0 ? dense : undefined,
  };
}

/** Shades of such a sum: SHADES where every layer chose a position, at least 1 where any did. */
export function countShades({ indices, scores, contextLength }: Selection, layers: number): Uint8Array {
  const shades = new Uint8Array(contextLength);
  indices.forEach((index, place) => {
    shades[index] = Math.ceil(((scores[place] ?? 0) * SHADES) / Math.max(layers, 1));
  });
  return shades;
}

/** Share of dense attention that the selected tokens hold, 0 to 1; null where dense weights were not traced. */
export function denseShare(selection: Selection): number | null {
  const { dense, indices } = selection;
  if (!dense) return null;
  const known = shares.get(selection);
  if (known !== undefined) return known;
  const all = dense.reduce((a, b) => a + b, 0);
  const share = all > 0 ? indices.reduce((sum, index) => sum + (dense[index] ?? 0), 0) / all : 0;
  shares.set(selection, share);
  return share;
}

/** Selections never change once they are here, and the mean over a text asks for each share again and again. */
const shares = new WeakMap<Selection, number>();

export interface Missed {
  position: number;
  weight: number;
}

/** Tokens outside the selection with the largest dense weights, largest first. */
export function mostMissed({ dense, indices }: Selection, count: number): Missed[] {
  if (!dense) return [];
  const selected = new Set(indices);
  const missed: Missed[] = [];
  dense.forEach((weight, position) => {
    const last = missed[count - 1];
    if (weight <= 0 || selected.has(position) || (last && last.weight >= weight)) return;
    const place = missed.findIndex((other) => other.weight < weight);
    missed.splice(place < 0 ? missed.length : place, 0, { position, weight });
    missed.length = Math.min(missed.length, count);
  });
  return missed;
}
