import java.nio.file.Path;
import java.util.Map;
import org.elasticsearch.common.logging.LogConfigurator;
import org.elasticsearch.common.settings.Settings;
import org.elasticsearch.env.Environment;
import org.elasticsearch.node.InternalSettingsPreparer;
import org.elasticsearch.node.Node;

/** One Elasticsearch node with its transport and no other module. Arguments: its folder (with config/elasticsearch.yml, modules). */
public class ElasticsearchNode {
  public static void main(String[] arguments) throws Exception {
    LogConfigurator.configureESLogging();
    Settings settings = Settings.builder().put("path.home", arguments[0]).build();
    Path config = Path.of(arguments[0], "config");
    Environment environment = InternalSettingsPreparer.prepareEnvironment(settings, Map.of(), config, () -> "one");
    new Node(environment).start();
    Thread.currentThread().join();
  }
}
