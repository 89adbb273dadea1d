// How long a rater was active on a task, how many keys and clicks it took, and when it was shown.

const IDLE_MS = 60_000; // reading needs no key; after a minute without any sign nobody reads
const SIGNS = ['keydown', 'pointerdown', 'pointermove', 'wheel', 'scroll', 'touchmove'];
const PHONE_PX = 720;
const VERSION = new URL(import.meta.url).pathname.match(/\/v-([^/]+)\//)?.[1] ?? 'unknown';
const MODIFIERS = new Set(['Shift', 'Control', 'Alt', 'AltGraph', 'Meta', 'CapsLock']);

export class Clock {
  constructor() {
    this.reset();
    this.present();
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

  /** The first of the responses can be seen. */
  present() {
    this.shownAt = moment();
    this.completeAt = this.firstKeyAt = null;
  }

  /** All of them can be read to their end. */
  complete() {
    this.completeAt ??= moment();
  }

  /** When the task was shown, and on what; goes to the log with the judgment. */
  presentation() {
    return { shown_at: this.shownAt, both_complete_at: this.completeAt,
      first_key_at: this.firstKeyAt, device: device(), ui_version: VERSION };
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
    this.firstKeyAt ??= moment();
    if (isText(event.target) && !event.ctrlKey && !event.metaKey && event.key !== 'Enter') return;
    this.keys += 1;
  }

  click(event) {
    if (event.detail === 0) return; // a click that a key made, counted already
    this.keys += 1;
    this.firstKeyAt ??= moment();
  }
}

/** UTC seconds by a clock that never runs backwards within a page. */
function moment() {
  return Math.round(performance.timeOrigin + performance.now()) / 1000;
}

function device() {
  if (!window.matchMedia('(pointer: coarse)').matches) return 'desktop';
  return Math.min(window.innerWidth, window.innerHeight) < PHONE_PX ? 'phone' : 'tablet';
}

/** @param {EventTarget|null} target whether it takes typed text */
export function isText(target) {
  if (!(target instanceof HTMLElement)) return false;
  if (target instanceof HTMLTextAreaElement || target.isContentEditable) return true;
  return target instanceof HTMLInputElement && ['text', 'search', 'email', 'password', 'number']
    .includes(target.type);
}
