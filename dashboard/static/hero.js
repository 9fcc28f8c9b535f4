// Draws the headline, its reason and its course; must not know how it was measured.
// SPDX-License-Identifier: Apache-2.0

import { age } from './memory.js';
import { colour, draw } from './charts.js';
import { marks } from './events.js';
import { byId, clock, code, count, el, length, lengthParts, lesson, NONE, said, shape, twin, write } from './format.js';

const WAITS = {
  join: 'it waits for its verdict from the join',
  learner: 'it is a sample, but in no version yet',
  replica: 'it is in a version that the replica has not applied yet',
};

export function header({ about, headline, status }) {
  if (about) {
    const version = headline?.version == null ? 'no version yet' : `version ${count(headline.version)}`;
    write(byId('about'), `${about.name} · ${about.model} · ${version}`);
  }
  if (!status) return;
  byId('status').dataset.kind = status.kind;
  write(byId('status-word'), status.word);
}

export function headline({ t, about, headline: h, status }) {
  if (!h) return;
  const number = byId('behind');
  const idle = h.idle && status.kind !== 'starting' && h.behind_ms != null;
  const known = h.behind_ms != null;
  const [value, unit] = idle ? ['idle', ''] : known ? lengthParts(h.behind_ms) : [status.kind === 'unknown' ? '?' : 'starting', ''];
  write(number, value);
  write(byId('behind-unit'), unit);
  number.closest('.now').dataset.kind = idle ? 'idle' : status.kind;
  write(byId('behind-caption'), idle ? 'nothing to learn right now' : known ? 'behind the stream' : 'not known yet');
  write(byId('p50'), h.p50_ms == null ? NONE : length(h.p50_ms));
  write(byId('p99'), h.p99_ms == null ? NONE : length(h.p99_ms));
  write(byId('slo'), length(about.slo_ms));
  write(byId('label'), h.label_ts == null ? NONE : length(t - h.label_ts));
  byId('why').replaceChildren(...reason(t, about, h, status, idle));
  document.title = !idle && known ? `${value} ${unit} behind · Springtide` : `${value} · Springtide`;
}

function reason(t, about, h, status, idle) {
  if (idle && status.kind === 'idle') {
    return ['No feedback on ', code(about.feedback_topic), h.last_feedback_ts == null
      ? ' since this page began to look.' : ` for ${length(t - h.last_feedback_ts)}.`];
  }
  if (status.why) return said(status.why);
  if (h.oldest_received_ts == null) return ['Caught up: everything that was received has been learned.'];
  const share = h.followed_share < 1 ? ` Measured on one key in ${Math.round(1 / h.followed_share)}.` : '';
  return [`Oldest feedback not learned: ${clock(h.oldest_received_ts)}; ${WAITS[h.waiting_for]}.${share}`];
}

export function course(memory) {
  const { about, t } = memory.tick;
  if (!about || !t) return;
  const slo = about.slo_ms / 1000;
  const data = memory.pairs('behind');
  const worst = Math.max(0, ...data.map(([, value]) => value ?? 0));
  draw('behind-chart', {
    from: t - memory.rangeMs, to: t, marks: marks(memory),
    label: `Seconds behind the stream over ${memory.minutes} minutes; worst ${length(worst * 1000)}, objective ${length(about.slo_ms)}`,
    panels: [{
      zero: true, most: roof(Math.max(slo * 1.1, worst * 1.05)), axis: (value) => axisSeconds(value), format: (value) => length(value * 1000),
      limit: { at: slo, name: `SLO ${length(about.slo_ms)}` },
      lines: [
        { name: 'behind', data, colour: colour('accent'), area: true },
        { name: 'newest label', data: memory.pairs('label_age', 'mean'), colour: colour('second'), dashed: true },
      ].filter((line) => line.name === 'behind' || worthShowing(line.data, Math.max(slo, worst))),
    }],
  });
  twin(byId('behind-table'), ['Time', 'Behind', 'Newest label'], () => {
    const labels = new Map(memory.pairs('label_age', 'mean'));
    return data.filter(([, value]) => value != null).slice(-120).reverse()
      .map(([ts, value]) => [clock(ts), length(value * 1000), length(labels.get(ts) == null ? null : labels.get(ts) * 1000)]);
  });
}

/** The next easy number, so that the axis ends on one. */
function roof(value) {
  const unit = 10 ** Math.floor(Math.log10(value));
  return unit * [1, 1.2, 1.5, 2, 2.5, 3, 4, 5, 6, 8, 10].find((step) => step * unit >= value - 1e-9);
}

/** The newest label grows without end at night; then it would press the headline flat. */
const worthShowing = (data, most) => data.every(([, value]) => value == null || value <= most * 1.1);
const axisSeconds = (value) => (value >= 120 ? `${Math.round(value / 60)} min` : `${value} s`);

export function processes({ t, join, learner, replicas = [] }) {
  const list = byId('processes');
  const chips = [];
  const chip = (up, name, text) => chips.push([up, name, text]);
  if (join) chip(join.up && (join.job_state ?? 'RUNNING') === 'RUNNING', 'join', join.up ? (join.job_state ?? 'answers').toLowerCase() : since(t, join));
  if (learner) {
    const waiting = learner.behind_records ? `, ${count(learner.behind_records)} records waiting` : '';
    chip(learner.up, 'learner', learner.up ? `${learner.state ?? 'answers'}, epoch ${learner.epoch ?? NONE}${waiting}` : since(t, learner));
  }
  if (replicas.length) {
    const up = replicas.filter((replica) => replica.up).length;
    chip(up === replicas.length, 'replicas', `${up} of ${replicas.length} answer`);
  }
  const shown = JSON.stringify(chips);
  if (list.dataset.shown === shown) return;
  list.dataset.shown = shown;
  list.replaceChildren(...chips.map(([up, name, text]) => el('li', { 'data-kind': up ? 'ok' : 'bad' },
    shape(), el('b', {}, name), ` ${text}`)));
  if (!chips.length) list.replaceChildren(lesson('No process is listed: name their addresses under ', code('dashboard.targets'), ' in pipeline.yaml.'));
}

const since = (t, process) => `does not answer since ${clock(process.since_ts)} (${length(age(t, process.since_ts))})`;
