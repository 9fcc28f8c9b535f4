// Draws what the join did in the last minute and how fast samples flow; must not know Kafka.
// SPDX-License-Identifier: Apache-2.0

import { colour, draw } from './charts.js';
import { marks } from './events.js';
import { byId, clock, count, el, percent, rate, twin, trio, write } from './format.js';

const ROWS = [
  ['clicks', 'joined clicks', 'Positive verdicts'],
  ['timeouts', 'no click', 'Negative verdicts: the window has passed'],
  ['corrections', 'corrections', 'Clicks after the verdict'],
  ['orphans', 'orphans', 'Feedback without an impression'],
  ['late_impressions', 'late impressions', 'Impressions whose window had passed on arrival'],
  ['duplicates', 'repeats dropped', 'Samples that the learner had already trained'],
  ['dead', 'dead letters', 'Events that could not be read'],
];

export function join({ minute: m, headline: h }) {
  if (!m) return;
  const verdicts = m.clicks + m.timeouts;
  const ended = m.clicks + m.corrections + m.orphans;
  trio(byId('join-figures'), [
    ['match', percent(verdicts ? m.clicks / verdicts : null), 'impressions clicked'],
    ['found', percent(ended ? 1 - m.orphans / ended : null), 'clicks with impression'],
    ['pending', count(h.waiting_for_join), 'clicks without verdict'],
  ]);
  write(byId('join-note'), `${count(m.feedback)} clicks received`);
  const box = byId('join-tally');
  if (box.childElementCount !== ROWS.length) {
    box.replaceChildren(...ROWS.map(([, name, title]) => el('div', { class: 'row', title },
      el('span', { class: 'name' }, name), el('span', { class: 'track', 'aria-hidden': 'true' }, el('i', { class: 'bar' })), el('span', { class: 'value' }))));
  }
  const most = Math.max(1, ...ROWS.map(([field]) => m[field] ?? 0));
  ROWS.forEach(([field], index) => {
    const row = box.children[index];
    const value = m[field];
    row.dataset.kind = value && ['orphans', 'late_impressions', 'dead'].includes(field) ? 'warn' : '';
    const bar = row.querySelector('.bar');
    bar.hidden = !value;
    bar.style.width = `max(3px, ${(100 * (value ?? 0)) / most}%)`;
    write(row.querySelector('.value'), count(value));
  });
}

export function rates(memory) {
  const { t, rates: r } = memory.tick;
  if (!r) return;
  const joined = memory.pairs('joined', 'mean');
  const trained = memory.pairs('trained', 'mean');
  draw('rates-chart', {
    from: t - memory.rangeMs, to: t, marks: marks(memory),
    label: `Samples per second: ${rate(r.joined)} joined, ${rate(r.trained)} trained, ${rate(r.feedback)} clicks received`,
    panels: [{
      zero: true, format: rate,
      lines: [
        { name: 'joined', data: joined, colour: colour('accent'), area: true },
        { name: 'trained', data: trained, colour: colour('second'), dashed: true },
      ],
    }],
  });
  twin(byId('rates-table'), ['Time', 'Joined/s', 'Trained/s'], () => {
    const also = new Map(trained);
    return joined.filter(([, value]) => value != null).slice(-120).reverse().map(([ts, value]) => [clock(ts), rate(value), rate(also.get(ts))]);
  });
}
