// Draws what the store holds and costs, and the learner's tables; must not know how it is added up.
// SPDX-License-Identifier: Apache-2.0

import { byId, bytes, code, count, length, lesson, NONE, redraw, table, trio, write } from './format.js';

const HOURS_PER_MONTH = 730;

export function storage({ t, storage: s }) {
  if (!s) return;
  const empty = !s.base_bytes && !s.chain_versions;
  byId('storage-split').hidden = empty;
  write(byId('storage-note'), empty ? '' : `a start reads ${bytes(s.base_bytes + s.chain_bytes)}`);
  trio(byId('storage-figures'), [
    ['base', s.base_version == null ? 'none' : bytes(s.base_bytes), s.base_version == null ? 'made by compaction' : `version ${count(s.base_version)}, ${length(t - s.base_ts)} old`],
    ['chain', bytes(s.chain_bytes), `${count(s.chain_versions)} versions since`],
    ['written', `${bytes(s.bytes_per_hour)}/h`, 'in versions'],
    ['PUTs', `${count(s.puts_per_hour)}/h`, `and ${count(s.gets_per_hour)} GETs`],
    ['cost', `${money(s.cost_per_hour)}/h`, `${s.currency}; ${money(s.cost_per_hour * HOURS_PER_MONTH)} a month`],
  ]);
  const [base, chain] = byId('storage-split').children;
  base.style.flexGrow = s.base_bytes;
  chain.style.flexGrow = s.chain_bytes;
  byId('storage-split').setAttribute('aria-label', `Base ${bytes(s.base_bytes)}, chain ${bytes(s.chain_bytes)}`);
}

/** Two figures that mean something: cents of a cent are shown, euros of a thousand are not. */
const money = (x) => (x == null ? NONE : x >= 10 ? count(x) : x.toPrecision(2).replace(/e.*$/, ''));

export function tables({ tables: list, learner }) {
  if (!list) return;
  write(byId('tables-note'), list.length ? 'admitted and evicted since the learner started' : '');
  redraw(byId('tables'), [list, Boolean(learner)], () => {
    if (!list.length) {
      return lesson(learner ? 'The learner has told of no table yet: it does with its first version.' : 'No learner is listed: name its address under ',
        learner ? '' : code('dashboard.targets.learner'), learner ? '' : '.');
    }
    const rows = list.map((row) => [row.name, count(row.rows), bytes(row.memory_bytes), count(row.admitted), count(row.evicted)]);
    return table(['Table', 'Rows', 'Memory', 'Admitted', 'Evicted'], rows, [1, 2, 3, 4]);
  });
}
