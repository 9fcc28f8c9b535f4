// Draws progressive quality by impression time; must not know how it is added up.
// SPDX-License-Identifier: Apache-2.0

import { colour, draw } from './charts.js';
import { marks } from './events.js';
import { byId, clock, count, decimal, length, lesson, twin, trio, write } from './format.js';

export function quality(memory) {
  const { t, about, quality: q } = memory.tick;
  const chart = byId('quality-chart');
  if (!about || !q) return;
  const points = [...memory.quality.values()].filter((p) => p.t >= t - memory.rangeMs).sort((a, b) => a.t - b.t);
  chart.hidden = !q.overall;
  const empty = chart.parentElement.querySelector('.lesson');
  if (!q.overall) {
    if (!empty) {
      chart.before(lesson('No sample has been trained yet. Each sample is predicted before it is learned, so the first figures come with the '
        + 'first version. Negatives take the whole window: their verdict comes ', length(about.window_ms), ' after the impression.'));
    }
    return;
  }
  empty?.remove();
  const closed = q.closed;
  trio(byId('quality-figures'), [
    ['AUC', decimal(q.overall.auc), closed ? `last closed ${decimal(closed.auc)}` : 'over all'],
    ['log loss', decimal(q.overall.log_loss), closed ? `last closed ${decimal(closed.log_loss)}` : 'over all'],
    ['calibration', decimal(q.overall.calibration, 2), 'predicted / clicked'],
  ]);
  write(byId('quality-note'), `${count(q.overall.samples)} samples${closed ? ` · closed through ${clock(closed.t)}` : ' · no bucket closed yet'}`);
  const line = (field, wanted) => points.filter((p, index) => p.closed === wanted || (!wanted && points[index + 1] && !points[index + 1].closed && p.closed))
    .map((p) => [p.t, p[field]]);
  const panel = (name, field, tone, limit) => ({
    name, limit, format: (value) => value.toFixed(3), axis: (value) => +value.toFixed(4),
    lines: [
      { name, data: line(field, true), colour: tone, joined: true, hollow: line(field, true).length < 3 },
      { name: `${name}, open`, data: line(field, false), colour: tone, dashed: true, joined: true, hollow: line(field, false).length < 3 },
    ].filter((one) => one.data.length),
  });
  draw('quality-chart', {
    from: t - memory.rangeMs, to: t, marks: marks(memory),
    label: `Quality by impression time: AUC ${decimal(q.overall.auc)}, log loss ${decimal(q.overall.log_loss)}, calibration ${decimal(q.overall.calibration, 2)} over all samples`,
    panels: [
      panel('AUC', 'auc', colour('accent')), panel('log loss', 'log_loss', colour('second')),
      panel('calibration', 'calibration', colour('third'), { at: 1, name: '1: as many as clicked', tone: 'muted' }),
    ],
  });
  twin(byId('quality-table'), ['Impressions from', 'State', 'Samples', 'AUC', 'Log loss', 'Calibration'], () =>
    points.slice(-200).reverse().map((p) => [clock(p.t), p.closed ? 'closed' : 'open', count(p.samples), decimal(p.auc), decimal(p.log_loss), decimal(p.calibration, 2)]));
}
