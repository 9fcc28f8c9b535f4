// Reads events in Protobuf's binary encoding by a description of their message; no class is generated for it.
// SPDX-License-Identifier: Apache-2.0
package springtide.events;

import java.io.IOException;
import java.math.BigInteger;
import java.time.Instant;
import java.util.ArrayList;
import java.util.Base64;
import java.util.HashMap;
import java.util.List;
import java.util.Map;

import com.google.protobuf.CodedInputStream;
import com.google.protobuf.DescriptorProtos.FileDescriptorProto;
import com.google.protobuf.DescriptorProtos.FileDescriptorSet;
import com.google.protobuf.Descriptors.Descriptor;
import com.google.protobuf.Descriptors.DescriptorValidationException;
import com.google.protobuf.Descriptors.EnumValueDescriptor;
import com.google.protobuf.Descriptors.FieldDescriptor;
import com.google.protobuf.Descriptors.FieldDescriptor.JavaType;
import com.google.protobuf.Descriptors.FileDescriptor;
import com.google.protobuf.DynamicMessage;
import com.google.protobuf.Message;
import org.apache.flink.table.data.GenericRowData;

/**
 * An attribute that is not there and could have said so is null. One that cannot, an `int64` of proto3 without
 * `optional` say, has its default: that is what its producer wrote.
 */
final class ProtobufReader implements EventReader {
    private static final long serialVersionUID = 1L;
    private static final String TIMESTAMP = "google.protobuf.Timestamp";
    // The end of the year 9999.
    private static final long LATEST_S = 253402300799L;

    private final Columns columns;
    private final String descriptors;
    private final String message;
    private final boolean framed;
    private transient Descriptor type;

    /**
     * @param descriptors base64 of a FileDescriptorSet, imported files before those that import them.
     * @param message the full name of the message.
     * @param framed whether a zero byte, the number of a schema and the place of the message in it stand in front.
     */
    ProtobufReader(Columns columns, String descriptors, String message, boolean framed) {
        this.columns = columns;
        this.descriptors = descriptors;
        this.message = message;
        this.framed = framed;
    }

    @Override
    public void open() {
        Map<String, FileDescriptor> files = new HashMap<>();
        try {
            for (FileDescriptorProto each :
                    FileDescriptorSet.parseFrom(Base64.getDecoder().decode(descriptors)).getFileList()) {
                FileDescriptor[] imported =
                        each.getDependencyList().stream().map(files::get).toArray(FileDescriptor[]::new);
                FileDescriptor file = FileDescriptor.buildFrom(each, imported);
                files.put(each.getName(), file);
                if (type == null) {
                    type = named(file.getMessageTypes());
                }
            }
        } catch (IOException | DescriptorValidationException error) {
            throw new IllegalStateException("the description of " + message + " cannot be used", error);
        }
        if (type == null) {
            throw new IllegalStateException("no message " + message + " is described");
        }
    }

    private Descriptor named(List<Descriptor> types) {
        for (Descriptor each : types) {
            Descriptor found = each.getFullName().equals(message) ? each : named(each.getNestedTypes());
            if (found != null) {
                return found;
            }
        }
        return null;
    }

    @Override
    public void read(byte[] body, GenericRowData row) throws Unreadable {
        try {
            CodedInputStream input = CodedInputStream.newInstance(body);
            if (framed) {
                skipFrame(input);
            }
            DynamicMessage found = DynamicMessage.parseFrom(type, input);
            input.checkLastTagWas(0);
            read(found, columns, row);
        } catch (IOException error) {
            throw new Unreadable("no " + message);
        }
    }

    private static void skipFrame(CodedInputStream input) throws IOException, Unreadable {
        if (input.readRawByte() != 0) {
            throw new Unreadable("no number of a schema");
        }
        input.skipRawBytes(4);
        // How many steps lead to the message inside its file, then each; 0 is short for the first message.
        int steps = input.readSInt32();
        if (steps < 0) {
            throw new Unreadable("no place of a message");
        }
        for (int step = 0; step < steps; step++) {
            input.readSInt32();
        }
    }

    private static void read(Message found, Columns wanted, GenericRowData row) {
        for (String name : wanted.names()) {
            FieldDescriptor field = found.getDescriptorForType().findFieldByName(name);
            if (field != null && (field.isRepeated() || !field.hasPresence() || found.hasField(field))) {
                read(found, field, wanted.inside(name), row);
            }
        }
    }

    private static void read(Message found, FieldDescriptor field, Columns wanted, GenericRowData row) {
        Object value = found.getField(field);
        if (field.isMapField()) {
            for (Object each : (List<?>) value) {
                Message entry = (Message) each;
                Descriptor pair = entry.getDescriptorForType();
                Columns inside = wanted.inside(String.valueOf(entry.getField(pair.findFieldByNumber(1))));
                if (inside != null) {
                    read(entry, pair.findFieldByNumber(2), inside, row);
                }
            }
        } else if (field.isRepeated()) {
            List<Object> items = new ArrayList<>();
            for (Object each : (List<?>) value) {
                items.add(scalar(field, each));
            }
            wanted.fill(row, items);
        } else {
            wanted.fill(row, scalar(field, value));
            if (field.getJavaType() == JavaType.MESSAGE) {
                read((Message) value, wanted, row);
            }
        }
    }

    /** A value without parts; null for one that has some, but for a moment. */
    private static Object scalar(FieldDescriptor field, Object value) {
        switch (field.getJavaType()) {
            case STRING:
            case BOOLEAN:
            case DOUBLE:
                return value;
            case FLOAT:
                return Double.valueOf(value.toString());
            case INT:
                return field.getType() == FieldDescriptor.Type.UINT32 || field.getType() == FieldDescriptor.Type.FIXED32
                        ? (Object) Integer.toUnsignedLong((Integer) value)
                        : (Object) ((Integer) value).longValue();
            case LONG:
                boolean unsigned = field.getType() == FieldDescriptor.Type.UINT64
                        || field.getType() == FieldDescriptor.Type.FIXED64;
                return unsigned && (Long) value < 0 ? new BigInteger(Long.toUnsignedString((Long) value)) : value;
            case ENUM:
                return ((EnumValueDescriptor) value).getName();
            case MESSAGE:
                return field.getMessageType().getFullName().equals(TIMESTAMP) ? moment((Message) value) : null;
            default:
                return null;
        }
    }

    private static Instant moment(Message timestamp) {
        Descriptor type = timestamp.getDescriptorForType();
        long seconds = (Long) timestamp.getField(type.findFieldByNumber(1));
        int nanos = (Integer) timestamp.getField(type.findFieldByNumber(2));
        return seconds < 0 || seconds > LATEST_S || nanos < 0 ? null : Instant.ofEpochSecond(seconds, nanos);
    }
}
