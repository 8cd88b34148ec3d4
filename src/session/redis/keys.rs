//! What is called what in Redis, and what must happen in one step there.

use crate::identity::HolderId;
use crate::redis::{Cmd, Redis, cmd};

/// The names of our keys. Scripts touch several: a cluster that spreads keys is no place for them.
pub(super) struct Keys {
    prefix: String,
}

impl Keys {
    pub(super) fn of(redis: &Redis) -> Self {
        Self { prefix: redis.prefix().to_owned() }
    }

    /// A hash of the sealed parts, which ends when the session is unused for too long.
    pub(super) fn session(&self, id: &str) -> String {
        format!("{}session:{id}", self.prefix)
    }

    /// The set of a session's tickets.
    pub(super) fn tickets(&self, id: &str) -> String {
        format!("{}tickets:{id}", self.prefix)
    }

    /// The sealed id of the session that a ticket opens.
    pub(super) fn ticket(&self, hash: &str) -> String {
        format!("{}ticket:{hash}", self.prefix)
    }

    /// A set of sessions that have something in common.
    pub(super) fn index(&self, blinded: &str) -> String {
        format!("{}index:{blinded}", self.prefix)
    }

    /// Says that a session has ended, where a copy of it may come back.
    fn ended(&self, id: &str) -> String {
        format!("{}ended:{id}", self.prefix)
    }

    pub(super) fn claim(&self, name: &str) -> String {
        format!("{}claim:{name}", self.prefix)
    }

    pub(super) fn note(&self, name: &str) -> String {
        format!("{}note:{name}", self.prefix)
    }

    /// The stream of what has changed.
    pub(super) fn changes(&self) -> String {
        format!("{}changes", self.prefix)
    }

    /// A random text that is lost with all else.
    pub(super) fn epoch(&self) -> String {
        format!("{}epoch", self.prefix)
    }

    /// Forgets a session, and tells so.
    pub(super) fn end(&self, id: HolderId, indexes: &[String], me: &str) -> Cmd {
        let name = id.to_string();
        let mut command = cmd("EVAL");
        command.arg(END).arg(4 + indexes.len());
        command
            .arg(self.session(&name))
            .arg(self.tickets(&name))
            .arg(self.changes())
            .arg(self.ended(&name))
            .arg(indexes);
        command.arg(member(id)).arg(me).arg(self.ticket(""));
        command
    }

    /// One more ticket; false where the session has ended.
    pub(super) fn more(&self, id: HolderId, hash: &str, sealed_id: &[u8], life: u64) -> Cmd {
        let name = id.to_string();
        let mut command = cmd("EVAL");
        command.arg(MORE).arg(3).arg(self.session(&name)).arg(self.tickets(&name)).arg(self.ticket(hash));
        command.arg(hash).arg(sealed_id).arg(life).arg(self.ticket(""));
        command
    }

    /// One ticket less, and tells so; true where it was the last.
    pub(super) fn retire(&self, id: HolderId, hash: &str, me: &str) -> Cmd {
        let mut command = cmd("EVAL");
        command.arg(RETIRE).arg(3).arg(self.ticket(hash)).arg(self.tickets(&id.to_string())).arg(self.changes());
        command.arg(hash).arg(member(id)).arg(me);
        command
    }

    /// Replaces one part of a session; false where it has ended.
    pub(super) fn change(&self, id: HolderId, field: &str, sealed: &[u8], me: &str) -> Cmd {
        let mut command = cmd("EVAL");
        command.arg(CHANGE).arg(2).arg(self.session(&id.to_string())).arg(self.changes());
        command.arg(field).arg(sealed).arg(member(id)).arg(me);
        command
    }

    /// Whether a session that Redis has lost may come back from memory.
    pub(super) fn is_lost(&self, id: &str) -> Cmd {
        let mut command = cmd("EXISTS");
        command.arg(self.session(id)).arg(self.ended(id));
        command
    }

    /// Gives back a claim that is ours.
    pub(super) fn release(&self, name: &str, me: &str) -> Cmd {
        let mut command = cmd("EVAL");
        command.arg(RELEASE).arg(1).arg(self.claim(name)).arg(me);
        command
    }
}

/// An id as members of sets and entries of the stream have it.
pub(super) fn member(id: HolderId) -> String {
    serde_json::to_string(&id).unwrap_or_default()
}

/// Who reads the stream reads each entry within seconds; more than these are not needed.
const END: &str = r"
for _, hash in ipairs(redis.call('SMEMBERS', KEYS[2])) do redis.call('DEL', ARGV[3] .. hash) end
local left = redis.call('PTTL', KEYS[2])
redis.call('DEL', KEYS[1], KEYS[2])
if left > 0 then redis.call('SET', KEYS[4], '', 'PX', left) else redis.call('SET', KEYS[4], '', 'PX', 86400000) end
for i = 5, #KEYS do redis.call('SREM', KEYS[i], ARGV[1]) end
redis.call('XADD', KEYS[3], 'MAXLEN', '~', '100000', '*', 'id', ARGV[1], 'by', ARGV[2])
";

/// 64 tickets are the most: hosts, and what browsers lost.
const MORE: &str = r"
if redis.call('EXISTS', KEYS[1]) == 0 then return 0 end
if redis.call('SCARD', KEYS[2]) >= 64 then redis.call('DEL', ARGV[4] .. redis.call('SPOP', KEYS[2])) end
redis.call('SET', KEYS[3], ARGV[2], 'PX', ARGV[3])
redis.call('SADD', KEYS[2], ARGV[1])
redis.call('PEXPIRE', KEYS[2], ARGV[3])
return 1
";

/// True as often as it is asked: whose answer was lost asks again. The set of a session's tickets ends with the session.
const RETIRE: &str = r"
redis.call('DEL', KEYS[1])
redis.call('SREM', KEYS[2], ARGV[1])
redis.call('XADD', KEYS[3], 'MAXLEN', '~', '100000', '*', 'id', ARGV[2], 'by', ARGV[3], 'ticket', ARGV[1])
if redis.call('SCARD', KEYS[2]) == 0 then return 1 end
return 0
";

const CHANGE: &str = r"
if redis.call('EXISTS', KEYS[1]) == 0 then return 0 end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
redis.call('XADD', KEYS[2], 'MAXLEN', '~', '100000', '*', 'id', ARGV[3], 'by', ARGV[4])
return 1
";

const RELEASE: &str = r"
if redis.call('GET', KEYS[1]) == ARGV[1] then redis.call('DEL', KEYS[1]) end
";
