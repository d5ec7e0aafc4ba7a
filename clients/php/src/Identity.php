<?php
/** What the lists of the server show of a client. GetLock.php needs this file. */
declare(strict_types=1);

namespace GetLock;

/**
 * A name, `user@host[pid] program` by default, and a note.
 *
 * @internal
 */
final class Identity
{
    /** Characters of a name or a note. */
    private const LONGEST = 256;

    public function __construct(private readonly ?string $name, public readonly ?string $note)
    {
        self::check('name', $name);
        self::check('note', $note);
        if ($name === '' && $note !== null) {
            throw new \InvalidArgumentException('a note needs a name; leave out the empty name, or the note');
        }
    }

    public static function check(string $what, ?string $text): ?string
    {
        $length = $text === null ? 0 : preg_match_all('/./su', $text);
        if ($length === false) {
            throw new \InvalidArgumentException("the $what is not UTF-8; encode it");
        }
        if ($length > self::LONGEST) {
            throw new \InvalidArgumentException("the $what has $length characters; use at most " . self::LONGEST);
        }
        return $text;
    }

    /** Made afresh each time, since a fork changes the process. Null for those who want to have no name. */
    public function name(): ?string
    {
        return $this->name === '' ? null : $this->name ?? self::ownName();
    }

    /** @return list<string> the line that tells the server, if it is to be told */
    public function lines(): array
    {
        $words = array_filter([$this->name(), $this->note], fn (?string $word) => $word !== null);
        return $this->name() === null ? [] : ['INTRODUCE ' . implode(' ', array_map(Session::quoted(...), $words))];
    }

    /** Never arguments: these may be secret. */
    private static function ownName(): string
    {
        $number = function_exists('posix_geteuid') ? posix_geteuid() : null;
        // A container may know no name for its user.
        $user = ($number === null ? null : posix_getpwuid($number)['name'] ?? $number) ?? get_current_user();
        $program = basename($_SERVER['SCRIPT_FILENAME'] ?? '') ?: PHP_SAPI;
        $name = $user . '@' . gethostname() . '[' . getmypid() . "] $program";
        $name = preg_match('//u', $name) ? $name : preg_replace('/[^ -~]/', '?', $name);
        return preg_replace('/^(.{' . self::LONGEST . '}).*/su', '$1', $name);
    }
}
