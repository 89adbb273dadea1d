// Light or dark, contrast and text size: applied before the first paint, kept in this browser.
// Load it as a plain script in <head>. Any <button data-theme-toggle> on a page becomes the switch.
(() => {
  'use strict';
  const root = document.documentElement;
  const dark = window.matchMedia('(prefers-color-scheme: dark)');
  const get = (key) => {
    try { return localStorage.getItem(key); } catch { return null; }
  };
  const set = (key, value) => {
    try { localStorage.setItem(key, value); } catch { /* this browser keeps nothing */ }
  };
  const apply = () => {
    const theme = get('accord-theme') || 'system';
    root.dataset.theme = theme === 'system' ? (dark.matches ? 'dark' : 'light') : theme;
    root.dataset.contrast = get('accord-contrast') || 'normal';
    root.dataset.size = get('accord-size') || 'm';
  };
  window.accordLook = {
    get: () => ({
      theme: get('accord-theme') || 'system',
      contrast: get('accord-contrast') || 'normal',
      size: get('accord-size') || 'm',
    }),
    set: (name, value) => { set(`accord-${name}`, value); apply(); },
  };
  dark.addEventListener('change', apply);
  document.addEventListener('DOMContentLoaded', () => {
    for (const button of document.querySelectorAll('button[data-theme-toggle]')) {
      button.hidden = false; // without this script it would do nothing
      button.setAttribute('aria-label', 'Light or dark colours');
      button.title = 'Light or dark colours';
    }
  });
  document.addEventListener('click', (event) => {
    const button = event.target instanceof Element && event.target.closest('[data-theme-toggle]');
    if (!button) return;
    set('accord-theme', root.dataset.theme === 'dark' ? 'light' : 'dark');
    apply();
  });
  apply();
})();
