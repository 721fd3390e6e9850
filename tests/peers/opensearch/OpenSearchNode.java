import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import org.opensearch.analysis.common.CommonAnalysisPlugin;
import org.opensearch.common.settings.Settings;
import org.opensearch.env.Environment;
import org.opensearch.index.mapper.MapperExtrasPlugin;
import org.opensearch.node.InternalSettingsPreparer;
import org.opensearch.node.Node;
import org.opensearch.transport.Netty4Plugin;

/** One OpenSearch node with the modules that a log store needs. Arguments: its folder (with config/opensearch.yml). */
public class OpenSearchNode {
  private static final class WithPlugins extends Node {
    WithPlugins(Environment environment) {
      super(environment, List.of(Netty4Plugin.class, CommonAnalysisPlugin.class, MapperExtrasPlugin.class), true);
    }
  }

  public static void main(String[] arguments) throws Exception {
    Settings settings = Settings.builder().put("path.home", arguments[0]).build();
    Path config = Path.of(arguments[0], "config");
    Node node = new WithPlugins(InternalSettingsPreparer.prepareEnvironment(settings, Map.of(), config, () -> "one"));
    node.start();
    Thread.currentThread().join();
  }
}
