use strict;
use POSIX ();
exit 77 unless eval { require DBI; require DBD::mysql; 1 };
$| = 1;
my $dbh = DBI->connect("DBI:mysql:host=127.0.0.1;port=$ARGV[0];database=test", "root", $ENV{PASSWORD}, { RaiseError => 1 });
sub say_ { print "$_[0]\n"; <STDIN> }
sub ask {
    my ($wanted, $sql, @args) = @_;
    my ($got) = $dbh->selectrow_array($sql, undef, @args);
    die "$got is not $wanted" unless $got == $wanted;
}
die unless $dbh->ping;
ask(1, "SELECT GET_LOCK('nightly', 10)");
say_("held");
ask(1, "SELECT RELEASE_LOCK('nightly')");
say_("released");
ask(0, "SELECT GET_LOCK(?, ?)", "nightly", 0);
say_("refused");
ask(1, "SELECT GET_LOCK(?, ?)", "nightly", 10.5);
ask(1, "SELECT IS_USED_LOCK(?) = CONNECTION_ID()", "nightly");
say_("again");
POSIX::_exit(0); # without a goodbye
