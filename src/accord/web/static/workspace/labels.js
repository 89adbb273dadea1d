// Questions about one response by itself: scales from 1 to n, and flags that are no unless ticked.

import { live } from '../vendor/lit.js';
import { LETTERS, Part, html, nothing } from './ui.js';

export class Labels extends Part {
  static properties = { labels: {}, values: {}, slot_: {}, missing: {} };

  constructor() {
    super();
    this.values = {};
    this.missing = [];
  }

  render() {
    const flags = this.labels.filter((label) => label.kind === 'flag');
    return html`<div class="labels">
      ${this.labels.filter((label) => label.kind === 'likert').map((label) => this.likert(label))}
      ${flags.length ? html`<fieldset class="flags"><legend>Tick what is true of response
        ${LETTERS['abcdefghi'.indexOf(this.slot_)]}</legend>
        ${flags.map((label) => html`<label class="flag"><input type="checkbox"
          .checked=${live(Boolean(this.values[label.name]))}
          @change=${(e) => this.set(label.name, e.target.checked)}>
          <span>${label.text}</span></label>`)}</fieldset>` : nothing}
    </div>`;
  }

  likert(label) {
    const name = `${this.slot_}-${label.name}`;
    const missing = this.missing.includes(label.name);
    return html`<fieldset class="likert" data-label=${label.name}>
      <legend>${label.text}${missing ? html` <span class="wanted">please answer</span>` : nothing}
      </legend>
      <div class="likert-row">
        ${Array.from({ length: label.steps }, (_, i) => html`<label><input type="radio" name=${name}
          value=${i + 1} .checked=${live(this.values[label.name] === i + 1)}
          @change=${() => this.set(label.name, i + 1)}><span>${i + 1}</span></label>`)}
      </div>
      ${label.low || label.high ? html`<div class="ends"><span>1: ${label.low}</span>
        <span>${label.steps}: ${label.high}</span></div>` : nothing}
    </fieldset>`;
  }

  set(name, value) {
    this.values = { ...this.values, [name]: value };
    this.missing = this.missing.filter((each) => each !== name);
    this.tell('label', { slot: this.slot_, values: this.values });
  }

  /** Digits answer the scale that has the focus, or the first without an answer. */
  digit(step) {
    const scales = this.labels.filter((label) => label.kind === 'likert');
    const focused = document.activeElement?.closest('.likert');
    const here = focused && this.contains(focused) ? focused.dataset.label : '';
    const label = scales.find((each) => each.name === here)
      ?? scales.find((each) => !(each.name in this.values)) ?? scales[scales.length - 1];
    if (!label || step < 1 || step > label.steps) return false;
    this.set(label.name, step);
    return true;
  }

  /** Shows what is missing and goes there. @returns {boolean} whether all is answered */
  check() {
    this.missing = this.labels.filter((label) => label.kind === 'likert'
      && !(label.name in this.values)).map((label) => label.name);
    if (this.missing.length) void this.focusOn(`[data-label="${this.missing[0]}"] input`);
    return this.missing.length === 0;
  }

  /** Up and down go from one question to the next. */
  step(by) {
    const stops = [...this.querySelectorAll('.likert input:checked, .flag input')];
    for (const scale of this.querySelectorAll('.likert')) {
      if (!scale.querySelector('input:checked')) stops.unshift(scale.querySelector('input'));
    }
    const at = stops.indexOf(document.activeElement);
    stops[(at + by + stops.length) % stops.length]?.focus();
  }
}
customElements.define('accord-labels', Labels);
