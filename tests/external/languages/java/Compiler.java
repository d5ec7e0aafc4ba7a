import com.sun.source.util.JavacTask;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.net.URI;
import java.util.List;
import java.util.stream.Collectors;
import javax.tools.Diagnostic;
import javax.tools.DiagnosticCollector;
import javax.tools.JavaFileObject;
import javax.tools.SimpleJavaFileObject;
import javax.tools.ToolProvider;

/** What the compiler says of a statement that uses the client. */
final class Compiler {
    private Compiler() {}

    static void accepts(String statement) {
        String complaint = complaint(statement);
        Check.that(complaint.isEmpty(), statement + " is accepted: " + complaint);
    }

    static void refuses(String statement) {
        Check.that(!complaint(statement).isEmpty(), statement + " is refused");
    }

    /** Empty if there is none. */
    private static String complaint(String statement) {
        String program = "import getlock.*; import java.time.Duration; class Program {"
            + " void run(GetLock locks, Leases leases) throws Exception { " + statement + " } }";
        var source = new SimpleJavaFileObject(URI.create("string:///Program.java"), JavaFileObject.Kind.SOURCE) {
            @Override
            public CharSequence getCharContent(boolean ignoreEncodingErrors) {
                return program;
            }
        };
        var complaints = new DiagnosticCollector<JavaFileObject>();
        var options = List.of("-cp", System.getProperty("java.class.path"), "-proc:none", "-implicit:none");
        var compiler = ToolProvider.getSystemJavaCompiler();
        var task = (JavacTask) compiler.getTask(null, null, complaints, options, null, List.of(source));
        try {
            task.analyze(); // which writes no class
        } catch (IOException error) {
            throw new UncheckedIOException(error);
        }
        return complaints.getDiagnostics().stream().filter(it -> it.getKind() == Diagnostic.Kind.ERROR)
            .map(it -> it.getMessage(null)).collect(Collectors.joining("; "));
    }
}
