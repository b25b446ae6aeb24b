// Numbers as the language writes them. Bytes are binary (KiB …), as `lyn plan` counts them.

export type Language = "en" | "nb";

export interface Format {
  /** 1,204 */
  integer(value: number): string;
  /** With so many decimals: 38.1 */
  decimal(value: number, digits?: number): string;
  /** A share from 0 to 1: 42 % */
  percent(share: number, digits?: number): string;
  /** 641.3 GiB */
  bytes(bytes: number): string;
  /** 5.6 s, 2 min 04 s, 1 h 02 min */
  duration(milliseconds: number): string;
  /** Time of day and date, short. */
  date(time: number): string;
}

const UNITS = ["B", "KiB", "MiB", "GiB", "TiB"];

export function createFormat(language: Language): Format {
  const locale = language === "nb" ? "nb-NO" : "en-GB";
  const whole = new Intl.NumberFormat(locale, { maximumFractionDigits: 0 });
  const decimals = new Map<number, Intl.NumberFormat>();
  const decimal = (value: number, digits = 1): string => {
    let format = decimals.get(digits);
    if (!format) {
      format = new Intl.NumberFormat(locale, { minimumFractionDigits: digits, maximumFractionDigits: digits });
      decimals.set(digits, format);
    }
    return format.format(value);
  };
  const dates = new Intl.DateTimeFormat(locale, { dateStyle: "medium", timeStyle: "short" });
  const two = (value: number): string => String(value).padStart(2, "0");
  return {
    integer: (value) => whole.format(value),
    decimal,
    percent: (share, digits = 0) => `${decimal(share * 100, digits)} %`,
    bytes(bytes) {
      let unit = 0;
      let value = bytes;
      while (value >= 1024 && unit < UNITS.length - 1) {
        value /= 1024;
        unit += 1;
      }
      return `${unit === 0 ? whole.format(value) : decimal(value)} ${UNITS[unit]}`;
    },
    duration(milliseconds) {
      const seconds = Math.max(0, milliseconds) / 1000;
      if (seconds < 60) return `${decimal(seconds, seconds < 10 ? 1 : 0)} s`;
      const minutes = Math.floor(seconds / 60);
      if (minutes < 60) return `${minutes} min ${two(Math.floor(seconds % 60))} s`;
      return `${Math.floor(minutes / 60)} h ${two(minutes % 60)} min`;
    },
    date: (time) => dates.format(time),
  };
}
