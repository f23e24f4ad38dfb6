// What the window uses of a browser and jsdom does not have: modal dialogs,
// scrolling and sizes. Just enough to mount the window in a test.

if (!("showModal" in HTMLDialogElement.prototype)) {
  Object.assign(HTMLDialogElement.prototype, {
    showModal(this: HTMLDialogElement) {
      this.setAttribute("open", "");
    },
    close(this: HTMLDialogElement) {
      this.removeAttribute("open");
    },
  });
}

Element.prototype.scrollIntoView ??= () => {};

globalThis.ResizeObserver ??= class {
  observe() {}
  unobserve() {}
  disconnect() {}
};

Object.assign((globalThis.CSS ??= {} as typeof CSS), { escape: (text: string) => text.replace(/["\\]/g, "\\$&") });
