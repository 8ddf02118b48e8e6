/**
 * Whose is a thin device that the kernel has under an id that our records don't explain? Its transaction
 * field says at which number of the pool it was made, and every transaction of ours moves that number on:
 * so it is ours if it was made at the very number at which an intent of ours named the id (INV-4).
 */
import type { MetadataDevice, MetadataListing } from "../tools/metadata-tools.ts";

export function deviceOf(listing: MetadataListing, thinId: number): MetadataDevice | undefined {
  return listing.devices.find((device) => Number(device.thinId) === thinId);
}

/** What an intent left that was taken back: the kernel had done what it said it had not, or the reverse. */
export function isLeftover(device: MetadataDevice, takenBackAt: bigint | undefined): boolean {
  return takenBackAt === device.transactionId + 1n;
}

/** For the journal: why one of ours goes. */
export function leftoverReason(device: MetadataDevice): string {
  return `it was made at transaction ${device.transactionId}, at which our intent for this id was taken back`;
}

/** For the journal: why one stays. */
export function foreignReason(device: MetadataDevice | undefined): string {
  return device === undefined
    ? "the kernel says that it is taken, and what has it could not be looked at"
    : `the kernel has it since transaction ${device.transactionId}, and no intent of ours is of then`;
}
