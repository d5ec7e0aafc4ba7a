# What every driver does, step by step: see steps.py.
use strict;
use POSIX ();
$| = 1;

sub say_ { print "$_[0]\n"; <STDIN> }

# `$ask->($sql, @args)` is the first value of the first row.
sub steps {
    my ($ask) = @_;
    my $expect = sub {
        my ($wanted, @call) = @_;
        my $got = $ask->(@call);
        die "$got is not $wanted" unless $got == $wanted;
    };
    $expect->(1, "SELECT GET_LOCK('nightly', 10)");
    say_("held");
    $expect->(1, "SELECT RELEASE_LOCK('nightly')");
    say_("released");
    $expect->(0, "SELECT GET_LOCK(?, ?)", "nightly", 0);
    say_("refused");
    $expect->(1, "SELECT GET_LOCK(?, ?)", "nightly", 10.5);
    $expect->(1, "SELECT IS_USED_LOCK(?) = CONNECTION_ID()", "nightly");
    say_("again");
    POSIX::_exit(0); # without a goodbye
}
1;
