// A sentence and the tone it is said in.

/** Whether a sentence reports something good, something to mend, or neither. */
export type Tone = "plain" | "good" | "warn" | "bad";

/** A sentence, how to colour it, and what to do about it if it needs saying apart. */
export interface Said {
  text: string;
  tone: Tone;
  remedy?: string;
}

export const plain = (text: string): Said => ({ text, tone: "plain" });
export const good = (text: string): Said => ({ text, tone: "good" });
export const warn = (text: string): Said => ({ text, tone: "warn" });
export const bad = (text: string, remedy?: string): Said => ({ text, tone: "bad", ...(remedy ? { remedy } : {}) });
