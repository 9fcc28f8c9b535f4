// Keeps contact with the page's server and says when it is lost; must not know what a tick means.
// SPDX-License-Identifier: Apache-2.0

import { at } from './models.js';

// Three missed ticks are lost contact; then the browser asks anew this often.
const SILENCE_MS = 3_500;
const RETRY_MS = 1_000;

/** Calls `onTick(sections)` for each message, `onContact()` before the first of each stream, `onLost(since)` after silence. */
export function connect({ onTick, onLost, onContact }) {
  let source = null;
  let heard = Date.now();
  let lost = false;
  let begun = false;

  function open() {
    source?.close();
    source = new EventSource(at('/api/live'));
    // Also after the browser's own attempts: what happened between two streams is in neither.
    source.onopen = () => { begun = false; };
    source.onmessage = (message) => {
      heard = Date.now();
      if (lost || !begun) {
        lost = false;
        begun = true;
        onContact();
      }
      onTick(JSON.parse(message.data));
    };
  }

  setInterval(() => {
    if (Date.now() - heard < SILENCE_MS) return;
    if (!lost) {
      lost = true;
      onLost(heard);
    }
    // A browser gives up for good after some answers; and a stream can be open but dead.
    if (source.readyState === EventSource.CLOSED || Date.now() - heard > 3 * SILENCE_MS) {
      if (source.readyState !== EventSource.CONNECTING) open();
    }
  }, RETRY_MS);
  open();
}
