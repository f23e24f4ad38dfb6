// The few WebDriver calls that the tests need (https://www.w3.org/TR/webdriver2/).

/** One page under automation. */
export class Page {
  #session;

  constructor(session) {
    this.#session = session;
  }

  /**
   * Starts the application behind `server` and takes hold of its page.
   * @param {string} server address of a tauri-driver
   */
  static async open(server, application, args) {
    const capabilities = { alwaysMatch: { "tauri:options": { application, args } } };
    const { sessionId } = await call("POST", `${server}/session`, { capabilities });
    return new Page(`${server}/session/${sessionId}`);
  }

  /** Runs a function in the page; arguments and result pass as JSON. */
  evaluate(run, ...args) {
    return this.#post("execute/sync", { script: `return (${run})(...arguments)`, args });
  }

  /** Clicks the first element that matches, as a mouse would. */
  async click(selector) {
    await this.#post(`element/${await this.#element(selector)}/click`, {});
  }

  /** Types into the first element that matches. */
  async type(selector, text) {
    await this.#post(`element/${await this.#element(selector)}/value`, { text });
  }

  /** Lets go of the application, which ends with it if it still runs. */
  async close() {
    await call("DELETE", this.#session);
  }

  async #element(selector) {
    const found = await this.#post("element", { using: "css selector", value: selector });
    return Object.values(found)[0];
  }

  #post(path, body) {
    return call("POST", `${this.#session}/${path}`, body);
  }
}

/** Whether a WebDriver server answers. */
export async function answers(server) {
  try {
    await call("GET", `${server}/status`);
    return true;
  } catch {
    return false;
  }
}

async function call(method, url, body) {
  const response = await fetch(url, { method, body: body && JSON.stringify(body) });
  const { value } = await response.json();
  if (!response.ok) throw new Error(`${value.error}: ${value.message} (${method} ${new URL(url).pathname})`);
  return value;
}
