// How long a rater was active on a task, and how many keys and clicks it took.

const IDLE_MS = 60_000; // reading needs no key; after a minute without any sign nobody reads
const SIGNS = ['keydown', 'pointerdown', 'pointermove', 'wheel', 'scroll', 'touchmove'];
const MODIFIERS = new Set(['Shift', 'Control', 'Alt', 'AltGraph', 'Meta', 'CapsLock']);

export class Clock {
  constructor() {
    this.reset();
    for (const name of SIGNS) {
      document.addEventListener(name, () => this.sign(), { capture: true, passive: true });
    }
    document.addEventListener('keydown', (event) => this.key(event), { capture: true });
    document.addEventListener('click', (event) => this.click(event), { capture: true });
    document.addEventListener('visibilitychange', () => this.seen(!document.hidden));
  }

  /** @param {{active_ms?: number, num_keys?: number}} [from] goes on from an earlier sitting */
  reset(from = {}) {
    this.sum = from.active_ms ?? 0;
    this.keys = from.num_keys ?? 0;
    this.last = performance.now();
    this.hidden = document.hidden;
  }

  read() {
    return { active_ms: Math.round(this.sum + this.since()), num_keys: this.keys };
  }

  since() {
    return this.hidden ? 0 : Math.min(performance.now() - this.last, IDLE_MS);
  }

  sign() {
    this.sum += this.since();
    this.last = performance.now();
  }

  seen(visible) {
    this.sum += this.since();
    this.last = performance.now();
    this.hidden = !visible;
  }

  /** Letters typed into a text are not keys of the judgment. */
  key(event) {
    if (event.repeat || MODIFIERS.has(event.key)) return;
    if (isText(event.target) && !event.ctrlKey && !event.metaKey && event.key !== 'Enter') return;
    this.keys += 1;
  }

  click(event) {
    if (event.detail > 0) this.keys += 1; // detail 0: a click that a key made, counted already
  }
}

/** @param {EventTarget|null} target whether it takes typed text */
export function isText(target) {
  if (!(target instanceof HTMLElement)) return false;
  if (target instanceof HTMLTextAreaElement || target.isContentEditable) return true;
  return target instanceof HTMLInputElement && ['text', 'search', 'email', 'password', 'number']
    .includes(target.type);
}
