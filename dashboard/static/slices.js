// Draws quality by slice, with each slice's calibration against 1; must not know what a slice means.
// SPDX-License-Identifier: Apache-2.0

import { byId, code, count, decimal, el, lesson, redraw, table, write } from './format.js';

// The alert's limits: what is predicted may be a fifth off.
const [LOW, HIGH] = [0.8, 1.25];
const WIDEST = 2;

export function slices({ slices: s }) {
  const box = byId('slices');
  const rows = s?.rows ?? [];
  write(byId('slices-note'), rows.length
    ? `versions ${count(s.from_version)} to ${count(s.through_version)}${s.left_out ? ` · the ${rows.length} with the most samples; ${count(s.left_out)} left out` : ''}` : '');
  redraw(box, rows.length ? rows : 'none', () => {
    if (!rows.length) {
      return lesson('No slice yet: name columns of few values under ', code('learner.quality_slices'), ', and each of their values has its own figures here.');
    }
    return table(['Slice', 'Samples', 'AUC', 'Log loss', 'Calibration'], rows.map((row) => [
      row.name, count(row.samples), decimal(row.auc), decimal(row.log_loss), calibration(row.calibration)]), [1, 2, 3, 4]);
  });
}

/** The figure, a sign where it is off, and a dot on a line from a half to two, 1 in the middle. */
function calibration(value) {
  if (value == null) return '–';
  const off = value < LOW || value > HIGH;
  const place = Math.min(1, Math.max(0, (Math.log(value) / Math.log(WIDEST) + 1) / 2));
  const dot = el('i');
  dot.style.left = `${100 * place}%`;
  return el('span', { class: 'scale', 'data-kind': off ? 'warn' : 'ok' },
    el('span', { class: 'line', 'aria-hidden': 'true' }, dot),
    el('span', { class: 'figure-of' }, `${off ? (value > 1 ? '▲ ' : '▼ ') : ''}${decimal(value, 2)}`));
}
