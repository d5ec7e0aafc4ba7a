/**
 * The client of getlockd, a lock server. {@link getlock.GetLock} takes locks by the line protocol, and
 * {@link getlock.Leases} takes them over HTTP. It needs Java 17 and nothing else.
 *
 * <p>A lock can be lost while it is held: somebody ends the session, the server stops, or the network breaks. Then
 * others may have it. The client tells of it before the server grants the lock to anybody else, so that there is time
 * to stop. If only the server's answers are missing, the connection stays open, unused, until that time is over or the
 * guard is released: the server frees the lock when the connection ends. If the server itself is started again, it
 * cannot keep that promise: a store that refuses old fencing tokens is safe even then.
 */
package getlock;
