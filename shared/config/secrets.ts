import { z } from 'zod';

/** A field that is never printed, and that `<key>File` may name a file of instead. */
export function secretText() {
  return z.string().min(1).meta({ secret: true });
}

/** Secret bytes, in hex where they come as text. */
export function secretBytes(length: number) {
  return z
    .union([
      z.instanceof(Uint8Array),
      z
        .string()
        .regex(/^([0-9a-f]{2})*$/i)
        .transform((text): Uint8Array => new Uint8Array(Buffer.from(text, 'hex'))),
    ])
    .refine((bytes) => bytes.length === length, `${length} bytes are needed`)
    .meta({ secret: true, form: `${length * 2} hexadecimal digits` });
}
