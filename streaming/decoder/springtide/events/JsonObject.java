// The SQL function that writes a result as JSON: names and values by turns, one flat object; knows no result's meaning.
// SPDX-License-Identifier: Apache-2.0
package springtide.events;

import java.nio.charset.StandardCharsets;
import java.util.List;
import java.util.Optional;
import java.util.stream.Collectors;

import org.apache.flink.table.api.DataTypes;
import org.apache.flink.table.api.ValidationException;
import org.apache.flink.table.catalog.DataTypeFactory;
import org.apache.flink.table.data.StringData;
import org.apache.flink.table.functions.FunctionDefinition;
import org.apache.flink.table.functions.ScalarFunction;
import org.apache.flink.table.functions.SpecializedFunction;
import org.apache.flink.table.functions.UserDefinedFunction;
import org.apache.flink.table.types.DataType;
import org.apache.flink.table.types.inference.ArgumentCount;
import org.apache.flink.table.types.inference.CallContext;
import org.apache.flink.table.types.inference.ConstantArgumentCount;
import org.apache.flink.table.types.inference.InputTypeStrategy;
import org.apache.flink.table.types.inference.Signature;
import org.apache.flink.table.types.inference.TypeInference;
import org.apache.flink.table.types.utils.DataTypeUtils;

/**
 * In place of {@code JSON_OBJECT}, which parses and sorts what it has written, and of {@code DATE_FORMAT}: nulls are
 * written out, times as ISO-8601 in UTC with milliseconds, bytes in base64.
 */
public final class JsonObject extends ScalarFunction implements SpecializedFunction {
    private static final long serialVersionUID = 1L;
    private static final int FIRST_SIZE = 512;
    // A single large object does not keep its memory for ever.
    private static final int LARGEST_KEPT = 1 << 20;

    private final byte[][] names;
    private final JsonValue[] values;
    private transient JsonBytes written;

    /** As SQL finds it; a call of it is made by {@link #specialize}. */
    public JsonObject() {
        this(new byte[0][], new JsonValue[0]);
    }

    private JsonObject(byte[][] names, JsonValue[] values) {
        this.names = names;
        this.values = values;
    }

    /** The object; every second argument is a name, which is known already. */
    public StringData eval(Object... arguments) {
        if (written == null || written.capacity() > LARGEST_KEPT) {
            written = new JsonBytes(FIRST_SIZE);
        }
        written.clear();
        for (int index = 0; index < names.length; index++) {
            written.raw(names[index]);
            values[index].write(arguments[2 * index + 1], written);
        }
        written.raw((byte) '}');
        return StringData.fromBytes(written.copy());
    }

    @Override
    public UserDefinedFunction specialize(SpecializedContext context) {
        CallContext call = context.getCallContext();
        List<DataType> types = call.getArgumentDataTypes();
        byte[][] found = new byte[types.size() / 2][];
        JsonValue[] kinds = new JsonValue[found.length];
        for (int index = 0; index < found.length; index++) {
            String name = call.getArgumentValue(2 * index, String.class)
                    .orElseThrow(() -> new ValidationException("every name must be a literal"));
            JsonBytes bytes = new JsonBytes(FIRST_SIZE);
            bytes.raw((byte) (index == 0 ? '{' : ','));
            bytes.text(name.getBytes(StandardCharsets.UTF_8));
            bytes.raw((byte) ':');
            found[index] = bytes.copy();
            kinds[index] = JsonValue.of(types.get(2 * index + 1).getLogicalType());
        }
        return new JsonObject(found, kinds);
    }

    @Override
    public TypeInference getTypeInference(DataTypeFactory factory) {
        return TypeInference.newBuilder()
                .inputTypeStrategy(new Pairs())
                .outputTypeStrategy(call -> Optional.of(DataTypes.STRING().notNull().bridgedTo(StringData.class)))
                .build();
    }

    /** Takes pairs of anything, as Flink holds it: nothing is turned into Java's own types on the way. */
    private static final class Pairs implements InputTypeStrategy {
        @Override
        public ArgumentCount getArgumentCount() {
            return ConstantArgumentCount.from(2);
        }

        @Override
        public Optional<List<DataType>> inferInputTypes(CallContext call, boolean throwOnFailure) {
            return Optional.of(call.getArgumentDataTypes().stream()
                    .map(DataTypeUtils::toInternalDataType)
                    .collect(Collectors.toList()));
        }

        @Override
        public List<Signature> getExpectedSignatures(FunctionDefinition definition) {
            return List.of(Signature.of(Signature.Argument.ofVarying("name, value")));
        }
    }
}
