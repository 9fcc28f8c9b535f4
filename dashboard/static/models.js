// Knows which of several models the page shows, and draws the way to the others; must not know what a model is.
// SPDX-License-Identifier: Apache-2.0

import { byId, el, shape } from './format.js';

const wanted = new URLSearchParams(location.search).get('model');
const named = (name) => `?model=${encodeURIComponent(name)}`;

/** The address of `path` for the model that is shown. */
export const at = (path) => (wanted == null ? path : `${path}${named(wanted).replace('?', path.includes('?') ? '&' : '?')}`);

export function models({ models: list = [], about }) {
  const box = byId('models');
  const shown = JSON.stringify([list, about?.name]);
  if (box.dataset.shown === shown) return;
  box.dataset.shown = shown;
  box.hidden = list.length < 2;
  box.replaceChildren(...list.map(({ name, kind, word }) => el('a', {
    href: named(name), 'data-kind': kind, ...(name === about?.name ? { 'aria-current': 'page' } : {}),
  }, shape(), el('span', {}, name), el('small', {}, word))));
}
