// Holds what the page has been told: the last tick and the figures of the chosen range; must not draw.
// SPDX-License-Identifier: Apache-2.0

import { at } from './models.js';

const MINUTE = 60_000;
const SHOWN_VERSIONS = 12;
const SHOWN_EVENTS = 60;
// Ranges longer than the live one are read again this often, and what could not be read is tried again so soon.
const REREAD_MS = 20_000;
const RETRY_MS = 5_000;

export const RANGES = [
  { minutes: 10, name: '10 min' },
  { minutes: 60, name: '1 h' },
  { minutes: 1440, name: '24 h' },
  { minutes: 43200, name: '30 d' },
];

export class Memory {
  constructor() {
    this.tick = {};
    this.minutes = 10;
    this.start = 0;
    this.step = 1000;
    this.series = {};
    this.quality = new Map();
    this.events = new Map();
    this.versions = new Map();
    this.loaded = false;
    this.due = Infinity;
    this.meanwhile = null;
  }

  /** Reads the past of the chosen range; ticks that come meanwhile are taken again after it. */
  async load() {
    const meanwhile = [];
    this.meanwhile = meanwhile;
    this.due = Infinity;
    let past, table;
    try {
      [past, table] = await Promise.all([
        fetchJson(`/api/history?minutes=${this.minutes}`), fetchJson('/api/versions'),
      ]);
    } catch (error) {
      if (this.meanwhile === meanwhile) this.#rest(RETRY_MS);
      throw error;
    }
    if (this.meanwhile !== meanwhile) return; // another range was chosen since
    this.start = past.start;
    this.step = past.step;
    this.series = past.series;
    this.quality = new Map(past.quality.map((point) => [point.t, point]));
    this.events = new Map(past.events.map((event) => [event.id, event]));
    this.versions = new Map(table.versions.slice(0, SHOWN_VERSIONS).map((row) => [row.version, row]));
    this.loaded = true;
    this.#rest(this.step > 1000 ? REREAD_MS : Infinity);
    for (const tick of meanwhile) this.#remember(tick);
  }

  /** Whether the past should be read anew. */
  get stale() {
    return Date.now() > this.due;
  }

  #rest(ms) {
    this.meanwhile = null;
    this.due = Date.now() + ms;
  }

  get rangeMs() {
    return this.minutes * MINUTE;
  }

  /** Takes one tick: sections that did not change are not in it. */
  take(sections) {
    Object.assign(this.tick, sections);
    const tick = { ...this.tick, versions: sections.versions ?? [], events: sections.events ?? [], quality: sections.quality };
    this.meanwhile?.push(tick);
    this.#remember(tick);
  }

  #remember(tick) {
    for (const point of tick.quality?.changed ?? []) this.quality.set(point.t, point);
    const closed = tick.quality?.closed;
    if (closed) this.quality.set(closed.t, closed);
    for (const point of this.quality.values()) point.closed ||= closed != null && point.t < closed.t;
    for (const row of tick.versions) this.versions.set(row.version, row);
    for (const event of tick.events) this.events.set(event.id, event);
    trim(this.versions, SHOWN_VERSIONS);
    trim(this.events, SHOWN_EVENTS);
    if (this.loaded && this.step === 1000) this.#append(tick);
  }

  /** A series as pairs [time, value] for a chart. */
  pairs(name, kind = 'max') {
    const values = this.series[name]?.[kind] ?? [];
    const pairs = values.map((value, index) => [this.start + index * this.step, value]);
    return pairs.filter(([, value], index) => value != null || !isJitter(values, index));
  }

  /** A series in so many equal cells over the range, each with its largest value. */
  cells(name, wanted) {
    const values = this.series[name]?.max ?? [];
    const cells = Array(wanted).fill(null);
    const points = Math.max(1, Math.round(this.rangeMs / this.step));
    const first = values.length - points;
    values.forEach((value, index) => {
      const cell = Math.floor(((index - first) * wanted) / points);
      if (cell >= 0 && cell < wanted && value != null) cells[cell] = Math.max(cells[cell] ?? 0, value);
    });
    return cells;
  }

  #append({ t, headline: h, replicas = [], rates = {} }) {
    const index = Math.floor((t - this.start) / this.step);
    if (index < 0) return;
    const values = { joined: rates.joined, trained: rates.trained, feedback: rates.feedback };
    if (h && h.behind_ms != null && !h.idle) {
      values.behind = h.behind_ms / 1000;
      for (const replica of replicas) {
        if (replica.known) values[`behind:${replica.name}`] = age(t, replica.oldest_received_ts) / 1000;
      }
    }
    if (h?.label_ts != null) values.label_age = (t - h.label_ts) / 1000;
    for (const name of new Set([...Object.keys(this.series), ...Object.keys(values)])) {
      const list = (this.series[name] ??= { mean: [], max: [] });
      for (const kind of ['mean', 'max']) {
        while (list[kind].length < index) list[kind].push(null);
        list[kind][index] = values[name] ?? null;
      }
    }
    const surplus = index + 1 - Math.round(this.rangeMs / this.step);
    if (surplus > 0) {
      for (const list of Object.values(this.series)) {
        list.mean.splice(0, surplus);
        list.max.splice(0, surplus);
      }
      this.start += surplus * this.step;
    }
  }
}

/** Ticks drift against the seconds they are filed under: one or two empty ones in a row are no gap. */
function isJitter(values, index) {
  let nulls = 1;
  for (let at = index - 1; nulls < 3 && at >= 0 && values[at] == null; at -= 1) nulls += 1;
  for (let at = index + 1; nulls < 3 && at < values.length && values[at] == null; at += 1) nulls += 1;
  return nulls < 3;
}

/** Milliseconds since `ts`; 0 when there is nothing to be late with. */
export const age = (now, ts) => (ts == null ? 0 : Math.max(0, now - ts));

function trim(map, most) {
  const keys = [...map.keys()].sort((a, b) => b - a);
  for (const key of keys.slice(most)) map.delete(key);
}

async function fetchJson(path) {
  const reply = await fetch(at(path), { signal: AbortSignal.timeout(REREAD_MS) });
  if (!reply.ok) throw new Error(`${path} answered ${reply.status}`);
  return reply.json();
}
