import com.fasterxml.jackson.databind.ObjectMapper;
import java.time.Duration;
import okhttp3.OkHttpClient;
import okhttp3.Request;
import okhttp3.Response;
import okhttp3.sse.EventSource;
import okhttp3.sse.EventSourceListener;
import okhttp3.sse.EventSources;

class OkHttpSse extends EventSourceListener {
  static final OkHttpClient CLIENT = new OkHttpClient.Builder().readTimeout(Duration.ofMinutes(1)).build();
  static final ObjectMapper JSON = new ObjectMapper();
  static String cursor = "";

  public static void main(String[] args) {
    follow();
  }

  static void follow() {
    Request request = new Request.Builder().url(System.getenv("HOOKRILL_URL")).header("Last-Event-ID", cursor).build();
    EventSources.createFactory(CLIENT).newEventSource(request, new OkHttpSse());
  }

  static void again() {
    try {
      Thread.sleep(1000);
    } catch (InterruptedException stopped) {
      return;
    }
    follow();
  }

  @Override
  public void onEvent(EventSource source, String id, String type, String data) {
    try {
      System.out.println("event " + id + " " + JSON.readTree(data).path("n").asText("-"));
    } catch (Exception broken) {
      throw new RuntimeException(broken);
    }
    if (id != null) {
      cursor = id;
    }
  }

  @Override
  public void onClosed(EventSource source) {
    System.out.println("error closed");
    System.exit(0); //-
    //+ again();
  }

  @Override
  public void onFailure(EventSource source, Throwable error, Response response) {
    System.out.println("error " + error);
    System.exit(0); //-
    //+ again();
  }
}
