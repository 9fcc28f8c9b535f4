// Knows light and dark: the reader's choice before the first paint; must not know the page's content.
// SPDX-License-Identifier: Apache-2.0
(() => {
  const root = document.documentElement;
  const system = matchMedia('(prefers-color-scheme: dark)');
  const kept = () => { try { return localStorage.getItem('springtide-theme'); } catch { return null; } };
  const apply = (theme) => {
    root.dataset.theme = theme ?? (system.matches ? 'dark' : 'light');
    dispatchEvent(new Event('themechange'));
  };
  apply(kept());
  system.addEventListener('change', () => { if (!kept()) apply(null); });
  addEventListener('DOMContentLoaded', () => {
    const button = document.getElementById('theme');
    const say = () => button.setAttribute('aria-pressed', String(root.dataset.theme === 'dark'));
    button.setAttribute('aria-label', 'Dark');
    button.addEventListener('click', () => {
      const theme = root.dataset.theme === 'dark' ? 'light' : 'dark';
      try { localStorage.setItem('springtide-theme', theme); } catch { /* a private window keeps nothing */ }
      apply(theme);
      say();
    });
    say();
  });
})();
